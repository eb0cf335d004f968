// The gate: camera, a scanner that types, or a hand. Read a code, have it decided (gate-link.js), show the verdict, sound it.

import { Link, Unable } from "/assets/gate-link.js";

/** The short code of a ticket, as people type it. */
const SHORT = /^[A-Z0-9]{5}[ -]?[A-Z0-9]{5}$/;
/** How long a verdict stays where the next code is looked for without a tap. */
const AUTO = 1_500;

const stage = document.querySelector("[data-stage]");
if (stage) {
  const gate = JSON.parse(document.querySelector("[data-gate]").dataset.gate);
  const { words, language } = gate;
  const video = document.querySelector("[data-video]");
  const finder = stage.firstElementChild;
  const typed = document.querySelector("[data-typed]");
  const offline = document.querySelector("[data-offline]");
  const list = document.querySelector("[data-list]");
  const camera = document.querySelector("[data-camera]");
  let busy = false;
  let last = { code: "", at: 0 };
  let shown = null;

  /** Says in words how this device stands. */
  const link = new Link(gate, () => {
    const waiting = link.waiting.size;
    offline.hidden = link.isOnline && !waiting;
    offline.textContent = (link.isOnline ? words["gate-sending"] : words["gate-offline"]).replace("{n}", waiting.toLocaleString(language));
    if (link.aside.size) offline.append(` ${words["gate-aside"].replace("{n}", link.aside.size)}`);
    const { head } = link.pack;
    const state = !link.pack.rules ? words["list-none"] : link.isReady ? words["list-of"] : words["list-old"];
    list.textContent = state.replace("{n}", link.pack.size.toLocaleString(language)).replace("{time}", head ? clock(head.server_time) : "");
    if (link.pack.rules && !link.canVerify) list.append(` ${words["list-only"]}`);
    list.dataset.tickets = link.pack.size;
    offline.dataset.waiting = waiting;
    stage.dataset.link = link.isOnline ? "online" : "offline";
  });

  let audio;
  /** Two rising tones, one low one, or two short ones: told apart without looking. */
  const sound = (verdict) => {
    const tones = { admitted: [[660, 0], [990, 0.12]], refused: [[180, 0], [140, 0.2]], check: [[520, 0], [520, 0.2]] }[verdict];
    try {
      audio ??= new AudioContext();
      for (const [pitch, at] of tones) {
        const tone = audio.createOscillator();
        const level = audio.createGain();
        tone.type = verdict === "refused" ? "square" : "sine";
        tone.frequency.value = pitch;
        level.gain.setValueAtTime(0.25, audio.currentTime + at);
        level.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + at + 0.18);
        tone.connect(level).connect(audio.destination);
        tone.start(audio.currentTime + at);
        tone.stop(audio.currentTime + at + 0.2);
      }
    } catch {
      // No sound until somebody touched the page; the field of color says it too.
    }
    navigator.vibrate?.(verdict === "admitted" ? 60 : [120, 60, 120]);
  };

  const element = (tag, attributes, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
    made.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return made;
  };
  /** A text that a promoter wrote in one or both languages. */
  const read = (text) => text?.[language] ?? text?.en ?? text?.zh ?? "";
  const clock = (moment) => new Date(moment).toLocaleTimeString("en-GB", { timeZone: gate.zone, hour12: false });

  /** The repeat of an entry that this device let in within the last minute: somebody held the same phone up twice. */
  const isRepeat = ({ reason, first_entry }) => reason === "already_inside" && first_entry?.is_own && Date.now() + link.offset - Date.parse(first_entry.entered_at) < 60_000;

  /** The verdict, full screen: one word on one color with a shape; the reason in words; the pass; what the thumb may do. */
  const print = (answer) => {
    const { verdict, kind, pass, first_entry } = answer;
    const passes = verdict === "admitted" && { undo: words.undone, exit: words.out, look: words["may-come-in"] }[kind];
    const look = isRepeat(answer) ? "repeat" : verdict;
    const word = passes || (look === "repeat" ? words.repeat : words[`verdict-${verdict}`]);
    const sign = document.querySelector(`[data-sign="${look === "repeat" ? "check" : verdict}"]`).content.cloneNode(true);
    const reason = look === "repeat" ? null : (answer.reason && words[`reason-${answer.reason}`]) || (answer.instruction && words[`instruction-${answer.instruction}`]);
    const swatch = document.querySelector("[data-swatch]").content.cloneNode(true);
    swatch.querySelector("rect").setAttribute("fill", pass?.color ?? "#fff");
    const section = element(
      "section",
      { class: `verdict ${look}${passes ? " passing" : ""}`, role: verdict === "admitted" ? "status" : "alert", "data-verdict": verdict, "data-scan": answer.scan_id, "data-offline-verdict": answer.is_offline },
      sign,
      element("h1", {}, word),
      reason && element("p", { class: "reason" }, reason),
      first_entry && element("p", { class: "more" }, words["first-entry"].replace("{time}", clock(first_entry.entered_at)), first_entry.gate ? ` ${read(first_entry.gate)}` : null),
      answer.others_not_in && element("p", { class: "more", "data-others": answer.others_not_in }, words["others-not-in"].replace("{n}", answer.others_not_in)),
      pass && element("p", { class: "pass" }, swatch, element("span", {}, read(pass.name), element("small", {}, read(pass.color_name)))),
      element("p", { class: "more" }, [read(answer.day), answer.ticket_end && `…${answer.ticket_end}`, answer.is_offline && words["decided-here"]].filter(Boolean).join(" · ")),
    );
    const button = (attributes, text) => element("button", { class: "button", ...attributes }, text);
    const next = button({ "data-next": true }, words.next);
    const keys = {
      check: () => [button({ "data-checked": "yes" }, words.checked), button({ "data-checked": "help_desk" }, words["help-desk"])],
      admitted: () => (passes ? [next] : [next, button({ "data-undo": true }, words.undo)]),
      refused: () => [next],
    };
    stage.replaceChildren(section, element("div", { class: "keys" }, keys[verdict]()));
    return word;
  };

  /** What this device cannot do now, in words. */
  const excuse = (key) => {
    stage.replaceChildren(element("section", { class: "verdict unable", role: "alert", "data-unable": key }, element("h1", {}, words["no-verdict"]), element("p", { class: "reason" }, words[`unable-${key}`])), element("div", { class: "keys" }, element("button", { class: "button", "data-next": true }, words.next)));
  };

  const auto = finder.querySelector("[data-auto]");
  const isAuto = () => auto.getAttribute("aria-pressed") === "true";
  auto.setAttribute("aria-pressed", String(localStorage.getItem("gatefold-auto") === "true"));
  auto.addEventListener("click", () => {
    auto.setAttribute("aria-pressed", String(!isAuto()));
    localStorage.setItem("gatefold-auto", String(isAuto()));
  });

  /** What was shown last, with its way back: it stays in sight after the next one is looked for. */
  const strip = finder.querySelector("[data-last]");
  const undo = strip.querySelector("button");
  let latest = null;
  undo.addEventListener("click", () => scan(latest.code, { kind: "undo" }));
  const remember = (code, answer, word) => {
    latest = { code, at: Date.now() };
    strip.hidden = false;
    strip.querySelector("span").textContent = [word, answer.ticket_end && `…${answer.ticket_end}`, clock(Date.now() + link.offset)].filter(Boolean).join(" · ");
    undo.hidden = answer.verdict !== "admitted" || answer.kind !== "entry";
  };
  // As long as the device may take an entry back.
  setInterval(() => (undo.hidden ||= !latest || Date.now() - latest.at > 15 * 60_000), 10_000);

  const scan = async (code, more = {}) => {
    if (busy) return;
    busy = true;
    try {
      if (SHORT.test(code)) code = await link.lookUp(code);
      const answer = await link.scan({ code: code.slice(0, 400), kind: mode(), ...more });
      remember(code, answer, print(answer));
      shown = { code, scan: answer.scan_id };
      // Whoever may pass needs no thumb; a refusal or a check stays until somebody saw it.
      if (isAuto() && answer.verdict === "admitted") setTimeout(() => shown?.scan === answer.scan_id && next(), AUTO);
      sound(isRepeat(answer) ? "check" : answer.verdict);
    } catch (error) {
      if (error instanceof Unable && error.message === "revoked") return location.reload();
      excuse(error instanceof Unable ? error.message : "storage");
      shown = { code };
      sound("refused");
      if (!(error instanceof Unable)) console.warn(error);
    } finally {
      busy = false;
    }
    stage.querySelector("button")?.focus();
  };

  const mode = () => document.querySelector(".modes :checked").value;
  document.querySelector(".modes").addEventListener("change", () => {
    document.body.dataset.mode = mode();
    next();
  });

  const gates = document.querySelector("[data-gates]");
  const stand = (id) => {
    const chosen = gate.gates.find((one) => one.gate_id === id) ?? gate.gates.find((one) => one.gate_id === gate.gate_id);
    Object.assign(gate, chosen);
    if (gates) gates.value = gate.gate_id;
  };
  const choice = `gatefold-gate-${gate.festival_id}`;
  stand(localStorage.getItem(choice) ?? gate.gate_id);
  gates?.addEventListener("change", () => {
    stand(gates.value);
    localStorage.setItem(choice, gate.gate_id);
  });

  const next = () => {
    stage.replaceChildren(finder);
    shown = null;
    last.at = Date.now();
    video.play?.().catch(() => {});
  };

  stage.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button || !shown) return;
    if ("undo" in button.dataset) scan(shown.code, { kind: "undo" });
    else if (button.dataset.checked) scan(shown.code, { after: shown.scan, checked: button.dataset.checked }).then(() => button.dataset.checked === "help_desk" && next());
    else next();
  });

  typed.addEventListener("submit", (event) => {
    event.preventDefault();
    const code = typed.code.value.trim().toUpperCase();
    typed.code.value = "";
    if (code) scan(code);
  });

  // A scanner that types: fast keys that end with Enter, wherever the focus is.
  let wedge = "";
  let at = 0;
  document.addEventListener("keydown", (event) => {
    if (event.target === typed.code) return;
    const now = performance.now();
    if (now - at > 100) wedge = "";
    at = now;
    if (event.key === "Enter" && wedge.length >= 20) {
      event.preventDefault();
      const code = wedge;
      wedge = "";
      scan(code);
    } else if (event.key.length === 1) wedge += event.key.toUpperCase();
  });

  const found = (code) => {
    // The same code in front of the camera is one presentation until it was away for three seconds.
    if (!code || (code === last.code && Date.now() - last.at < 3000)) {
      if (code) last.at = Date.now();
      return;
    }
    last = { code, at: Date.now() };
    scan(code);
  };

  const canvas = document.createElement("canvas");
  /** Draws what the camera sees, at most 960 pixels wide or high. */
  const picture = () => {
    const scale = Math.min(1, 960 / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = video.videoWidth * scale;
    canvas.height = video.videoHeight * scale;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    return context;
  };

  /** A worker that reads by zxing-wasm; null where it does not get ready. */
  const library = () =>
    new Promise((done) => {
      if (!("scanner" in stage.dataset)) return done(null);
      const worker = new Worker("/gate/workers/reader.js");
      worker.onerror = () => done(null);
      worker.onmessage = ({ data }) => done(data.ready ? worker : null);
      setTimeout(() => done(null), 8000);
    });

  /** Reads on the device, by the browser itself or by the library; else lets the server read small frames. */
  const reader = async () => {
    if ("BarcodeDetector" in window && (await BarcodeDetector.getSupportedFormats()).includes("qr_code")) {
      const detector = new BarcodeDetector({ formats: ["qr_code"] });
      stage.dataset.reader = "native";
      return [words["camera-on"], 60, async () => (await detector.detect(video))[0]?.rawValue];
    }
    const worker = await library();
    if (worker) {
      stage.dataset.reader = "library";
      const ask = () =>
        new Promise((done) => {
          worker.onmessage = ({ data }) => done(data.code);
          const frame = picture().getImageData(0, 0, canvas.width, canvas.height);
          worker.postMessage(frame, [frame.data.buffer]);
        });
      return [words["camera-on"], 60, ask];
    }
    stage.dataset.reader = "server";
    const read = async () => {
      picture();
      const frame = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.8));
      const answer = await fetch("/gate/frames", { method: "POST", headers: { "content-type": "application/octet-stream" }, body: frame });
      return answer.ok ? (await answer.json()).code : null;
    };
    return [words["camera-server"], 250, read];
  };

  const [torch, flip, zoom] = ["torch", "flip", "zoom"].map((name) => finder.querySelector(`[data-${name}]`));
  let facing = "environment";
  let track = null;
  /** Looks through one camera, and offers what it can. */
  const look = async () => {
    track?.stop();
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: facing, width: { ideal: 1280 } } });
    video.srcObject = stream;
    await video.play();
    [track] = stream.getVideoTracks();
    const able = track.getCapabilities?.() ?? {};
    torch.hidden = !able.torch;
    torch.setAttribute("aria-pressed", "false");
    zoom.hidden = !able.zoom;
    if (able.zoom) Object.assign(zoom, { min: able.zoom.min, max: able.zoom.max, step: able.zoom.step || 0.1, value: able.zoom.min });
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
    flip.hidden = cameras.length < 2;
  };
  const set = (wish) => track?.applyConstraints({ advanced: [wish] }).then(() => true, () => false);
  torch.addEventListener("click", async () => {
    const on = torch.getAttribute("aria-pressed") !== "true";
    if (await set({ torch: on })) torch.setAttribute("aria-pressed", String(on));
  });
  zoom.addEventListener("input", () => set({ zoom: Number(zoom.value) }));
  flip.addEventListener("click", async () => {
    const before = facing;
    facing = facing === "environment" ? "user" : "environment";
    await look().catch(async () => {
      facing = before;
      await look();
    });
  });

  const start = async () => {
    try {
      await look();
    } catch {
      camera.textContent = words["camera-off"];
      return;
    }
    const [words_, rest, read] = await reader();
    camera.textContent = words_;
    for (;;) {
      if (!busy && !shown && video.videoWidth > 0) {
        try {
          found(await read());
        } catch {
          // A frame that cannot be read is followed by the next.
        }
      }
      await new Promise((wait) => setTimeout(wait, rest));
    }
  };
  start();
  link.start().catch((error) => {
    console.warn(error);
    excuse("storage");
  });
  navigator.serviceWorker?.register("/gate/workers/offline.js", { scope: "/gate" }).catch((error) => console.warn(error));
  // The list and the queue shall not be thrown away when the phone is full.
  navigator.storage?.persist?.().catch(() => {});
  setInterval(() => {
    // The time of the festival, by the clock of the house, whatever zone and time the phone believes in.
    document.querySelector("[data-clock]").textContent = clock(Date.now() + link.offset);
  }, 1000);
}
