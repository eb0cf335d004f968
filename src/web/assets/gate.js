// The gate: camera, a scanner that types, or a hand. Read a code, have it decided (gate-link.js), show the verdict, sound it.

import { Camera } from "/assets/gate-camera.js";
import { Counter } from "/assets/gate-count.js";
import { identity, isCard, isClearing } from "/assets/gate-code.js";
import { isOverridable } from "/assets/gate-decide.js";
import { Desk } from "/assets/gate-exchange.js";
import { Link, Unable } from "/assets/gate-link.js";
import { abilities, practised, stayAwake } from "/assets/gate-phone.js";

/** The short code of a ticket, as people type it. */
const SHORT = /^[A-Z0-9]{5}[ -]?[A-Z0-9]{5}$/;
/** How long a verdict stays where the next code is looked for without a tap. */
const AUTO = 1_500;

const pairing = document.querySelector("[data-pairing]");
if (pairing) {
  // What a sheet or a supervisor shows is an address with the code behind the number sign: it is sent to no server and stands in no log.
  const take = (text) => (pairing.code.value = decodeURIComponent(text.slice(text.lastIndexOf("#") + 1)));
  if (location.hash.length > 1) {
    take(location.hash);
    history.replaceState(null, "", location.pathname);
    pairing.name.focus();
  }
  const finder = pairing.querySelector("[data-finder]");
  const eye = new Camera(finder.querySelector("video"), "scanner" in pairing.dataset);
  const open = pairing.querySelector("[data-read]");
  open.hidden = false;
  open.addEventListener("click", async () => {
    try {
      finder.hidden = false;
      await eye.look();
      const { rest, read } = await eye.reader();
      for (let text = ""; !finder.hidden; await new Promise((wait) => setTimeout(wait, rest))) {
        text = await read().catch(() => null);
        if (!/^\d+-\d+-[A-Za-z0-9]+$/.test(text?.slice(text.lastIndexOf("#") + 1) ?? "")) continue;
        take(text);
        finder.hidden = true;
        pairing.name.focus();
      }
    } catch {
      finder.hidden = true;
      open.hidden = true;
      pairing.querySelector("[data-blind]").hidden = false;
    } finally {
      eye.close();
    }
  });
}

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
    // People counted by hand are sent within two seconds: without network they are said, too.
    const waiting = link.waiting.size + (link.isOnline ? 0 : link.counts.size);
    offline.hidden = link.isOnline && !waiting && !link.aside.size;
    offline.textContent = (link.isOnline ? words["gate-sending"] : words["gate-offline"]).replace("{n}", waiting.toLocaleString(language));
    if (link.aside.size) offline.append(` ${words["gate-aside"].replace("{n}", link.aside.size)}`);
    const { head } = link.pack;
    const state = !link.pack.rules ? words["list-none"] : link.isReady ? words["list-of"] : words["list-old"];
    list.textContent = state.replace("{n}", link.pack.size.toLocaleString(language)).replace("{time}", head ? clock(head.server_time) : "");
    if (link.pack.rules && !link.canVerify) list.append(` ${words["list-only"]}`);
    list.dataset.tickets = link.pack.size;
    offline.dataset.waiting = waiting;
    stage.dataset.link = link.isOnline ? "online" : "offline";
    counter.update();
    supervise();
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
    const passes = verdict === "admitted" && { undo: words.undone, exit: words.out, look: words["may-come-in"], exchange: words[answer.given_at ? "band-given" : "give-band"] }[kind];
    const look = isRepeat(answer) ? "repeat" : verdict;
    const word = passes || (look === "repeat" ? words.repeat : words[`verdict-${verdict}`]);
    const sign = document.querySelector(`[data-sign="${look === "repeat" ? "check" : verdict}"]`).content.cloneNode(true);
    const reason = look === "repeat" ? null : (answer.reason && words[`reason-${answer.reason}`]) || (answer.instruction && words[`instruction-${answer.instruction}`]);
    const swatch = document.querySelector("[data-swatch]").content.cloneNode(true);
    swatch.querySelector("rect").setAttribute("fill", pass?.color ?? "#fff");
    // What is still to be done is not what was done.
    const ground = kind === "exchange" && verdict === "admitted" && !answer.given_at ? "repeat" : look;
    const section = element(
      "section",
      { class: `verdict ${ground}${passes ? " passing" : ""}`, role: verdict === "admitted" ? "status" : "alert", "data-verdict": verdict, "data-scan": answer.scan_id, "data-offline-verdict": answer.is_offline },
      sign,
      element("h1", {}, word),
      reason && element("p", { class: "reason" }, reason),
      answer.holder_name !== undefined && element("p", { class: "reason", "data-name": true }, answer.holder_name || words["no-name"]),
      answer.note ? element("p", { class: "more note", "data-note": true }, answer.note) : answer.instruction === "note" && element("p", { class: "more", "data-note": true }, words["note-elsewhere"]),
      answer.because && element("p", { class: "more", "data-because": answer.because }, words["let-in-by-supervisor"]),
      first_entry && element("p", { class: "more" }, words["first-entry"].replace("{time}", clock(first_entry.entered_at)), first_entry.gate ? ` ${read(first_entry.gate)}` : null),
      answer.others_not_in && element("p", { class: "more", "data-others": answer.others_not_in }, words["others-not-in"].replace("{n}", answer.others_not_in)),
      answer.to_collect?.length ? element("p", { class: "more", "data-to-collect": true }, words["to-collect"].replace("{name}", answer.to_collect.map(({ name, quantity }) => `${read(name)} × ${quantity}`).join(", "))) : null,
      kind === "exchange" && answer.left !== undefined ? element("p", { class: "more", "data-left": answer.left }, words["bands-left"].replace("{n}", answer.left.toLocaleString(language))) : null,
      pass && element("p", { class: "pass" }, swatch, element("span", {}, read(pass.name), element("small", {}, read(pass.color_name)))),
      element("p", { class: "more" }, [read(answer.day), answer.ticket_end && `…${answer.ticket_end}`, answer.band_end && `${words.band} …${answer.band_end}`, answer.is_offline && words["decided-here"]].filter(Boolean).join(" · ")),
    );
    const button = (attributes, text) => element("button", { class: "button", ...attributes }, text);
    const next = button({ "data-next": true }, words.next);
    if (answer.is_practice) {
      section.prepend(element("p", { class: "more", "data-practice": true }, words.practice));
      stage.replaceChildren(section, element("div", { class: "keys" }, next));
      return word;
    }
    const keys = {
      check: () => [button({ "data-checked": "yes" }, words.checked), button({ "data-checked": "help_desk" }, words["help-desk"])],
      admitted: () => (passes ? [next] : [next, button({ "data-undo": true }, words.undo)]),
      refused: () => (kind === "entry" && isOverridable(answer.reason) ? [next, button({ "data-override": true }, words.supervisor)] : [next]),
    };
    stage.replaceChildren(section, element("div", { class: "keys" }, kind === "exchange" && verdict !== "check" ? desk.keys(answer) : keys[verdict]()));
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

  /** The text of a code that is asked for by ten letters. A band may carry ten characters, too: what no supervisor reads here is taken as it is. */
  const lookUp = async (code) => {
    if (!SHORT.test(code) || (await link.isBand(code))) return code;
    return link.lookUp({ short_code: code }).catch((error) => {
      if (link.pack.hasBands && ["short", "unlisted"].includes(error.message)) return code;
      throw error;
    });
  };

  /** Says that everybody was put out, by the code of it. */
  const told = (code, { zone_id, zone, clears_at, readmits_until }) => {
    const back = readmits_until && element("p", { class: "more" }, words["back-until"].replace("{time}", clock(readmits_until).slice(0, 5)));
    const section = element("section", { class: "verdict repeat", role: "alert", "data-cleared": true }, element("h1", {}, words["everybody-out"]), element("p", { class: "reason" }, `${zone_id ? read(zone) || `${words.zone} ${zone_id.slice(-4)}` : words["whole-site"]} · ${clock(clears_at)}`), element("p", { class: "more" }, words["clearing-noted"]), back);
    stage.replaceChildren(section, element("div", { class: "keys" }, element("button", { class: "button", "data-next": true }, words.next)));
    shown = { code };
    sound("check");
  };

  const scan = async (code, more = {}) => {
    if (!more.kind && !more.after && mode() === "exchange" && !practised(code) && !isClearing(code)) return desk.take(code);
    if (busy) return;
    busy = true;
    asked = null;
    const practice = practised(code);
    if (practice) {
      print(practice);
      shown = { code };
      sound(practice.verdict);
      busy = false;
      stage.querySelector("button")?.focus();
      return;
    }
    try {
      code = await lookUp(code);
      if (isCard(code)) throw new Unable("card");
      if (isClearing(code)) return told(code, await link.takeClearing(code));
      const answer = await link.scan({ code: code.slice(0, 400), kind: kind(), ...more });
      remember(code, answer, print(answer));
      shown = { code, scan: answer.scan_id, first: more.after ?? answer.scan_id, reason: answer.reason, override: more.override };
      // Whoever may pass needs no thumb; a refusal or a check stays until somebody saw it.
      if (isAuto() && answer.verdict === "admitted" && !answer.note) setTimeout(() => shown?.scan === answer.scan_id && next(), AUTO);
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
  // Whoever counts and reads a code wants to know of it.
  const kind = () => (mode() === "count" ? "look" : mode());
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
    if (video.parentNode !== finder) finder.prepend(video);
    if (mode() === "count") counter.show();
    else stage.replaceChildren(finder);
    // The phone that was too late to show a fresh one has it by now.
    if (shown?.reason === "live_code_required") last.code = "";
    shown = null;
    desk.trading = null;
    asked = null;
    last.at = Date.now();
    video.play?.().catch(() => {});
  };

  stage.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && counter.press(button)) return;
    if (!button || !shown) return;
    if (shown.kind === "exchange") desk.press(button, shown) || next();
    else if ("override" in button.dataset) override(shown);
    else if ("signIn" in button.dataset) opener?.click();
    else if (button.dataset.because) overridden(button.dataset.because);
    else if ("undo" in button.dataset) scan(shown.code, { kind: "undo" });
    else if (button.dataset.checked) scan(shown.code, { after: shown.first, checked: button.dataset.checked, override: shown.override }).then(() => button.dataset.checked === "help_desk" && next());
    else next();
  });

  const entered = (code) => (asked && isCard(code) && stage.querySelector("[data-asked=who]") ? showCard(code) : scan(code));
  typed.addEventListener("submit", (event) => {
    event.preventDefault();
    const code = typed.code.value.trim().toUpperCase();
    typed.code.value = "";
    if (code) entered(code);
  });

  /** What a supervisor is asked about: { code, scan, reasons, card }, with every reason that was seen so far; null where none is. */
  let asked = null;
  /** Asks a supervisor: by a card before the camera, or whoever is signed in; then why. */
  const override = async (refusal) => {
    asked ??= { code: refusal.code, scan: refusal.first, reasons: [...(refusal.override?.reasons ?? []), refusal.reason], card: refusal.override?.card_code };
    const who = asked.card ? words["by-card"] : link.supervising?.name;
    const reasons = gate.because.map((why) => element("button", { class: "button", type: "button", "data-because": why }, words[`because-${why}`]));
    const body = who
      ? [element("p", { class: "reason" }, words[`reason-${asked.reasons.at(-1)}`]), element("p", { class: "more" }, who), element("p", {}, words["override-lead"]), element("div", { class: "reasons" }, reasons), element("input", { "data-note": true, maxlength: 200, placeholder: words.note, "aria-label": words.note, autocomplete: "off" })]
      : [element("p", {}, words["override-card"]), element("div", { class: "finder small" }, video)];
    const panel = element("section", { class: "verdict override", "data-asked": who ? "why" : "who" }, element("h1", {}, words.supervisor), element("p", { class: "more trouble", role: "alert", hidden: true }), body);
    stage.replaceChildren(panel, element("div", { class: "keys" }, element("button", { class: "button", "data-next": true }, words.next), who ? null : element("button", { class: "button", type: "button", "data-sign-in": true }, words["shift-code"])));
    panel.querySelector("button")?.focus();
    if (!who) video.play?.().catch(() => {});
  };
  const trouble = (key) => {
    const said = stage.querySelector(".trouble");
    said.textContent = words[`unable-${key}`];
    said.hidden = false;
  };
  const showCard = async (code) => {
    const question = asked;
    if (busy || question.card) return;
    const counts = await link.takesCard(code);
    // Somebody may have gone on meanwhile.
    if (asked !== question || question.card) return;
    if (!counts) return trouble("override");
    question.card = code;
    sound("check");
    finder.prepend(video);
    override();
  };
  const overridden = async (because) => {
    const note = stage.querySelector("input[data-note]").value.trim();
    if (because === "other" && !note) return trouble("note");
    const { code, scan: after, reasons, card } = asked;
    asked = null;
    await scan(code, { kind: "entry", after, override: { reasons, because, note, card_code: card } });
  };

  const counter = new Counter({ gate, link, stage, words, language, element, sound, excuse, show: (what) => (shown = what) });
  const desk = new Desk({ link, stage, video, words, element, print, excuse, trouble, sound, show: (what) => (shown = what), next, lookUp });

  // A page that was kept before an upgrade has no dialogs: it scans all the same.
  const phone = document.querySelector("[data-phone]");
  if (phone) {
    /** Says what this phone can do, and what it cannot. */
    const examine = async () => {
      const found = await abilities({ link, reader: stage.dataset.reader });
      const line = ([name, can]) => element("li", { "data-can": String(can), "data-ability": name }, words[`phone-${name}-${can === false ? "no" : can ? "yes" : "wait"}`] ?? words["phone-wait"]);
      phone.querySelector("[data-abilities]").replaceChildren(...found.map(line));
    };
    document.querySelector("[data-open-phone]").addEventListener("click", () => {
      examine();
      phone.showModal();
    });
    phone.addEventListener("click", ({ target }) => {
      const { practice } = target.closest("button")?.dataset ?? {};
      if (!practice) return;
      phone.close();
      scan(`G0PRACTICE${practice.toUpperCase()}`);
    });
  }

  const dialog = document.querySelector("[data-supervisor]");
  const opener = document.querySelector("[data-open-supervisor]");
  /** Says who is signed in. */
  let supervise = () => {};
  if (dialog) {
    const who = dialog.querySelector("[data-who]");
    supervise = () => {
      const one = link.supervising;
      who.textContent = one ? words["supervising-as"].replace("{name}", one.name).replace("{time}", clock(one.until).slice(0, 5)) : words["nobody-signed-in"];
      opener.setAttribute("aria-pressed", String(Boolean(one)));
      for (const part of dialog.querySelectorAll("[data-when]")) part.hidden = (part.dataset.when === "in") !== Boolean(one);
    };
    opener.addEventListener("click", () => {
      supervise();
      dialog.showModal();
    });
    const troubled = (key) => {
      const said = dialog.querySelector(".trouble");
      said.textContent = key ? words[`unable-${key}`] : "";
      said.hidden = !key;
    };
    const attempt = async (deed) => {
      troubled();
      try {
        await deed();
      } catch (error) {
        if (!(error instanceof Unable)) throw error;
        if (error.message === "revoked") return location.reload();
        troubled(error.message);
      }
    };
    dialog.querySelector("[data-shift]").addEventListener("submit", (event) => {
      event.preventDefault();
      const digits = event.target.digits.value;
      event.target.digits.value = "";
      attempt(async () => {
        await link.signIn(digits);
        supervise();
        if (!asked) return;
        dialog.close();
        override();
      });
    });
    dialog.querySelector("[data-sign-out]").addEventListener("click", () =>
      attempt(async () => {
        await link.signOut();
        supervise();
      }),
    );
    const results = dialog.querySelector("[data-found]");
    dialog.querySelector("[data-search]")?.addEventListener("submit", (event) => {
      event.preventDefault();
      results.replaceChildren();
      attempt(async () => {
        const items = await link.search(event.target.text.value.trim());
        const row = ({ ticket_id, holder_name, order_number, ticket_end, status, pass, is_bound }) =>
          element("li", {}, is_bound ? element("button", { class: "button plain", type: "button", "data-unbind": ticket_id }, words.unbind) : null, status === "exchanged" ? element("button", { class: "button plain", type: "button", "data-lost": ticket_id }, words["band-lost"]) : null, element("button", { class: "button", type: "button", "data-ticket": ticket_id }, element("b", {}, holder_name), ` ${[read(pass?.name), order_number, `…${ticket_end}`, status === "valid" ? "" : words[`ticket-${status}`]].filter(Boolean).join(" · ")}`));
        results.replaceChildren(...(items.length ? items.map(row) : [element("li", {}, words["no-ticket-found"])]));
      });
    });
    results?.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      const { ticket, unbind, lost } = button?.dataset ?? {};
      const done = (word) => button.replaceWith(element("p", { class: "more", role: "status" }, word));
      if (lost)
        attempt(async () => {
          await link.endBand(lost, "lost");
          done(words["band-ended"]);
        });
      if (unbind)
        attempt(async () => {
          await link.unbind(unbind);
          done(words.unbound);
        });
      if (ticket)
        attempt(async () => {
          const code = await link.lookUp({ ticket_id: ticket });
          dialog.close();
          // What it is scanned for is what is chosen below: to come in, to leave, or to be looked at.
          scan(code);
        });
    });
    dialog.addEventListener("close", () => {
      results?.replaceChildren();
      dialog.querySelector("[data-search]")?.reset();
      troubled();
    });
  }

  // A scanner that types: fast keys that end with Enter, wherever the focus is.
  let wedge = "";
  let at = 0;
  document.addEventListener("keydown", (event) => {
    if (event.target.matches?.("input:not([type=radio])") || document.querySelector("dialog[open]")) return;
    const now = performance.now();
    // Whoever looks for a band, or counts, presses no button by the keys of a reader, however slow it is.
    const isOpen = desk.isLooking || mode() === "count";
    // A key that is held down is one person.
    if (event.repeat && mode() === "count" && (event.key === " " || event.key === "Enter")) return event.preventDefault();
    if (now - at > (isOpen ? 400 : 100)) wedge = "";
    at = now;
    if (isOpen && (event.key === " " || event.key === "Enter") && wedge) event.preventDefault();
    if (event.key === "Enter" && wedge.length >= 6) {
      event.preventDefault();
      const code = wedge;
      wedge = "";
      entered(code);
    } else if (event.key.length === 1) wedge += event.key.toUpperCase();
  });

  /** Whether the camera is for something now: for the next ticket, or for a card; not behind a dialog. */
  const isLooking = () => mode() !== "count" && !document.querySelector("dialog[open]") && (asked ? Boolean(stage.querySelector("[data-asked=who]")) : !shown || desk.isLooking);
  const found = (code) => {
    if (asked) return isCard(code ?? "") && showCard(code);
    // The same code in front of the camera is one presentation until it was away for three seconds.
    if (!code || (identity(code) === last.code && Date.now() - last.at < 3000)) {
      if (code) last.at = Date.now();
      return;
    }
    last = { code: identity(code), at: Date.now() };
    scan(code);
  };

  const eye = new Camera(video, "scanner" in stage.dataset);
  const [torch, flip, zoom] = ["torch", "flip", "zoom"].map((name) => finder.querySelector(`[data-${name}]`));
  /** Looks through one camera, and offers what it can. */
  const look = async () => {
    const able = await eye.look();
    torch.hidden = !able.torch;
    torch.setAttribute("aria-pressed", "false");
    zoom.hidden = !able.zoom;
    if (able.zoom) Object.assign(zoom, { min: able.zoom.min, max: able.zoom.max, step: able.zoom.step || 0.1, value: able.zoom.min });
    flip.hidden = able.cameras < 2;
  };
  torch.addEventListener("click", async () => {
    const on = torch.getAttribute("aria-pressed") !== "true";
    if (await eye.set({ torch: on })) torch.setAttribute("aria-pressed", String(on));
  });
  zoom.addEventListener("input", () => eye.set({ zoom: Number(zoom.value) }));
  flip.addEventListener("click", async () => {
    eye.turn();
    await look().catch(async () => {
      eye.turn();
      await look();
    });
  });

  const start = async () => {
    try {
      await look();
    } catch {
      camera.textContent = words["camera-off"];
      stage.dataset.reader = "none";
      return;
    }
    const { name, rest, read } = (await eye.reader()) ?? eye.server();
    stage.dataset.reader = name;
    camera.textContent = words[name === "server" ? "camera-server" : "camera-on"];
    let before = null;
    for (;;) {
      if (!busy && !desk.isBusy && isLooking() && video.videoWidth > 0) {
        try {
          const code = await read(desk.isLooking || link.pack.hasBands);
          const isSure = desk.isSure(code, before);
          before = code;
          if (isSure) found(code);
        } catch {
          // A frame that cannot be read is followed by the next.
        }
      }
      await new Promise((wait) => setTimeout(wait, rest));
    }
  };
  start();
  stayAwake();
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
