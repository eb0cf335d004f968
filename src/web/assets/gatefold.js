// What pages do beyond what they say without script: a countdown ticks, a record plays, a sum follows the basket.

const pad = (n) => String(n).padStart(2, "0");

/** Ticks a countdown to the moment in data-until; reloads the page once when it is over. */
function tick(timer) {
  const until = Date.parse(timer.dataset.until);
  // Our time, not the phone's: the page says what the server's clock showed when it was made.
  const offset = Date.parse(timer.dataset.now) - Date.now();
  const face = timer.querySelector("b");
  const groove = timer.querySelector("progress");
  const step = () => {
    const left = Math.max(0, Math.round((until - Date.now() - offset) / 1000));
    face.textContent = `${Math.floor(left / 60)}:${pad(left % 60)}`;
    if (groove) groove.value = left;
    if (left > 0) setTimeout(step, 1000 - (Date.now() % 1000));
    else setTimeout(() => location.reload(), 3000);
  };
  step();
}

/** Keeps the parts of a page as the server sees them; a part that somebody types in waits. */
function follow(region) {
  const state = region.querySelector("[data-state]");
  const source = new EventSource(region.dataset.live);
  let silent;
  const heard = () => {
    clearTimeout(silent);
    state.hidden = true;
    silent = setTimeout(() => (state.hidden = false), 15_000);
  };
  source.onopen = heard;
  source.onmessage = ({ data }) => {
    heard();
    for (const [name, html] of Object.entries(JSON.parse(data))) {
      const part = region.querySelector(`[data-part="${name}"]`);
      if (part && part.dataset.kept !== html && !part.contains(document.activeElement?.closest("form, details"))) {
        part.innerHTML = html;
        part.dataset.kept = html;
      }
    }
  };
  heard();
}

/** Plays the tracks of an album one after the other in one player. */
function play(player) {
  const audio = player.querySelector("audio");
  const rows = [...document.querySelectorAll(`[data-album="${player.dataset.album}"] [data-track]`)];
  let current = -1;
  const mark = () => {
    rows.forEach((row, i) => {
      const on = i === current && !audio.paused;
      row.querySelector(".play")?.setAttribute("aria-pressed", String(on));
      if (i === current) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    });
    player.querySelector(".sleeve")?.classList.toggle("turning", !audio.paused);
  };
  const start = (i) => {
    current = i;
    audio.src = rows[i].dataset.track;
    audio.play();
    player.querySelector("[data-title]").textContent = rows[i].dataset.name;
  };
  rows.forEach((row, i) =>
    row.querySelector(".play").addEventListener("click", (event) => {
      event.preventDefault();
      if (i === current) audio.paused ? audio.play() : audio.pause();
      else start(i);
    }),
  );
  for (const name of ["play", "pause"]) audio.addEventListener(name, mark);
  audio.addEventListener("ended", () => (current + 1 < rows.length ? start(current + 1) : mark()));
}

/** Keeps the sum of the basket beside its button. */
function sum(form) {
  const face = form.querySelector("[data-sum]");
  // Nothing can be had: there is no basket.
  if (!face) return;
  const count = () => {
    let minor = 0;
    for (const select of form.querySelectorAll("select[data-minor]")) minor += Number(select.value) * Number(select.dataset.minor);
    const digits = Number(face.dataset.exponent);
    const whole = (minor / 10 ** digits).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    face.textContent = `${face.dataset.sign}${whole}`;
  };
  form.addEventListener("change", count);
  count();
}

/** Asks again and again where somebody stands in a waiting room; when that changes the page is made anew. */
function wait(room) {
  const face = (name) => room.querySelector(`[data-${name}]`);
  let timer = 0;
  const ask = async () => {
    clearTimeout(timer);
    let again = Number(room.dataset.again) || 5;
    try {
      const answer = await fetch(room.dataset.wait, { headers: { accept: "application/json" } });
      // The place is gone from this browser: the page says what can be done.
      if (answer.status === 404) return location.reload();
      if (answer.ok) {
        const turn = await answer.json();
        document.title = turn.window;
        if (turn.standing !== room.dataset.standing || (turn.passed !== null && !face("groove"))) {
          if (turn.standing === "turn") navigator.userActivation?.hasBeenActive && navigator.vibrate?.(200);
          // The title says it for a moment before the page is made anew, so that a screen reader does, too.
          face("title").textContent = turn.title;
          return setTimeout(() => location.reload(), 600);
        }
        // A screen reader hears what changed, not the same again.
        for (const name of ["title", "lead"]) if (face(name).textContent !== turn[name]) face(name).textContent = turn[name];
        if (face("people")) face("people").textContent = turn.people_words;
        if (face("groove")) Object.assign(face("groove"), { max: Math.max(1, turn.people), value: turn.passed ?? 0 });
        again = turn.again_in;
      }
    } catch {
      // No network: the place stays; the next look may find one.
    }
    timer = setTimeout(ask, again * 1000 * (0.9 + Math.random() / 5));
  };
  timer = setTimeout(ask, 1000 * (1 + Math.random()));
  // A phone that wakes up looks at once.
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && ask());
}

document.querySelectorAll("[data-print]").forEach((button) => button.addEventListener("click", () => print()));
document.querySelectorAll("[data-live]").forEach(follow);
document.querySelectorAll("[data-wait]").forEach(wait);
document.querySelectorAll("[data-until]").forEach(tick);
document.querySelectorAll("[data-player]").forEach(play);
document.querySelectorAll("form[data-basket]").forEach(sum);
// A basket is sent once: the key makes a second tap harmless, this makes it needless.
document.querySelectorAll("form[data-once]").forEach((form) => form.addEventListener("submit", () => setTimeout(() => form.querySelectorAll("button").forEach((b) => (b.disabled = true)))));
