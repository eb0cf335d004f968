// A ticket's own page: it is kept for when there is no network, and where its pass asks for live codes this phone makes them, every fifteen seconds, by a
// key that never leaves it.

import { bindingOf, liveCode, picture } from "/assets/ticket-code.js";

/** Where the worker keeps pages (ticket-offline.js). */
const SHELF = "gatefold-tickets-1";
/** How long a code is shown, in seconds. */
const SHOWN = 15;

const [, , ticketId, secret] = location.pathname.split("/");
const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));
const ofBase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

/** The keys of this phone, one a ticket: { ticket_id, pair, public_key, certificate, offset }. */
const keys = {
  async store(mode, deed) {
    const opened = indexedDB.open("gatefold-tickets", 1);
    opened.onupgradeneeded = () => opened.result.createObjectStore("keys", { keyPath: "ticket_id" });
    const db = await new Promise((done, failed) => Object.assign(opened, { onsuccess: () => done(opened.result), onerror: () => failed(opened.error) }));
    try {
      const write = db.transaction("keys", mode, { durability: "strict" });
      const asked = deed(write.objectStore("keys"));
      await new Promise((done, failed) => Object.assign(write, { oncomplete: done, onabort: () => failed(write.error) }));
      return asked.result;
    } finally {
      db.close();
    }
  },
  read: () => keys.store("readonly", (all) => all.get(ticketId)),
  write: (key) => keys.store("readwrite", (all) => all.put({ ticket_id: ticketId, ...key })),
};

/** The page as the server has it now: { document, at: when it was, by this clock }; null where it does not answer, `gone` where there is none any more. */
const fetched = async () => {
  const began = Date.now();
  try {
    const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(5_000) });
    if (answer.status === 404) return { gone: true };
    if (!answer.ok || !answer.headers.get("x-ticket")) return null;
    const kept = answer.clone();
    return { document: new DOMParser().parseFromString(await answer.text(), "text/html"), at: (began + Date.now()) / 2, kept };
  } catch {
    return null;
  }
};

/** Live codes in their place on the page. */
class LiveCode {
  /** Milliseconds from this clock to that of the house. */
  offset = 0;
  key = null;
  shown = 0;
  /** Whether the server said which phone the ticket is bound to. */
  heard = false;

  constructor(place) {
    Object.assign(this, { place, bound: place.dataset.bound, opensAt: Date.parse(place.dataset.opensAt) });
    this.trouble = place.querySelector("[data-trouble]");
    for (const button of place.querySelectorAll("[data-bind]")) button.addEventListener("click", () => this.bind(button));
  }

  now = () => Date.now() + this.offset;

  async start() {
    this.key = await keys.read().catch(() => null);
    this.offset = this.key?.offset ?? 0;
    this.say();
    setInterval(() => this.tick(), 250);
  }

  /** Hears which phone the ticket is bound to, and what time it is. */
  async hear({ document: page, at }) {
    const { bound, certificate, now, opensAt } = page.querySelector("[data-live-code]").dataset;
    this.heard = true;
    Object.assign(this, { bound, opensAt: Date.parse(opensAt), offset: Date.parse(now) - at });
    if (this.key) {
      // An answer that was lost on its way, or another binding by the same key: the certificate of now counts.
      this.key = { ...this.key, offset: this.offset, certificate: bound === this.key.public_key ? certificate : null };
      await keys.write(this.key).catch(() => null);
    }
    this.say();
  }

  /** Which of its faces the place shows. */
  get face() {
    if (!crypto.subtle || !window.indexedDB) return "unable";
    // Until the server says otherwise: a page that was kept may be older than the key.
    if (this.key?.certificate && (!this.heard || this.bound === this.key.public_key)) return "here";
    if (this.bound) return "elsewhere";
    return this.now() < this.opensAt ? "early" : "free";
  }

  say() {
    const { face } = this;
    if (this.place.dataset.face === face) return;
    this.place.dataset.face = face;
    for (const part of this.place.querySelectorAll("[data-show]")) part.hidden = !part.dataset.show.split(" ").includes(face);
    this.shown = 0;
    this.tick();
  }

  async tick() {
    if (this.face !== this.place.dataset.face) return this.say();
    if (this.face !== "here") return;
    const seconds = Math.floor(this.now() / 1000);
    const since = seconds - (seconds % SHOWN);
    const left = this.place.querySelector("progress");
    left.value = SHOWN - (seconds - since);
    this.place.querySelector("[data-clock]").textContent = new Date(this.now()).toLocaleTimeString("en-GB", { timeZone: this.place.dataset.zone, hour12: false });
    const which = `${since} ${this.key.certificate}`;
    if (which === this.shown) return;
    this.shown = which;
    const sign = async (bytes) => new Uint8Array(await crypto.subtle.sign("Ed25519", this.key.pair.privateKey, bytes));
    const code = await liveCode(ofBase64(this.key.certificate), seconds, sign).catch(() => null);
    if (!code) return this.tell("unable");
    const { side, path } = picture(code);
    const drawn = this.place.querySelector("[data-picture] svg");
    drawn.setAttribute("viewBox", `0 0 ${side} ${side}`);
    drawn.firstElementChild.setAttribute("d", path);
    this.place.dataset.code = code;
  }

  /** Binds the ticket to this phone: a key that was kept, read back and signed with is offered. */
  async bind(button) {
    this.tell(null);
    button.disabled = true;
    try {
      // One key a ticket for ever: an answer that was lost may have bound it.
      if (!(this.key ?? (await keys.read()))) {
        const pair = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
        const public_key = toBase64(new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)));
        await keys.write({ pair, public_key, offset: this.offset });
      }
      this.key = await keys.read();
      const proof = new Uint8Array(await crypto.subtle.sign("Ed25519", this.key.pair.privateKey, bindingOf(ticketId, ofBase64(this.key.public_key))));
      const answer = await fetch(`/v1/tickets/${ticketId}/bindings`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer gf_order_${secret}` },
        body: JSON.stringify({ public_key: this.key.public_key, proof: toBase64(proof) }),
        signal: AbortSignal.timeout(15_000),
      }).catch(() => null);
      if (!answer?.ok) {
        this.tell(answer ? (answer.status === 409 ? "taken" : "failed") : "network");
        if (answer) await refresh();
        return;
      }
      const { certificate, server_time } = await answer.json();
      await keys.write({ ...this.key, certificate, offset: Date.parse(server_time) - Date.now() });
      // It shall not be thrown away when the phone is full.
      navigator.storage?.persist?.().catch(() => {});
      // The short code is another one, too; what is kept for later is the page of now.
      location.reload();
    } catch {
      // No such keys in this browser, or nowhere to keep them.
      this.tell("unable");
    } finally {
      button.disabled = false;
    }
  }

  /** Says what went wrong, in words of the page. */
  tell(key) {
    this.trouble.hidden = !key;
    this.trouble.textContent = key ? this.trouble.dataset[key] : "";
  }
}

const place = document.querySelector("[data-live-code]");
const live = place && new LiveCode(place);
const version = document.querySelector("[data-version]")?.dataset.version;

/** Looks whether the ticket is still what this page says: a page that was kept, or was open for long, may be older. Without network what was known holds. */
const refresh = async () => {
  const fresh = await fetched();
  document.querySelector("[data-no-network]").hidden = Boolean(fresh);
  if (!fresh) return;
  const now = fresh.gone ? "gone" : fresh.document.querySelector("[data-version]")?.dataset.version;
  // Once: where the server itself answers by what it knew before, this page stays.
  if (now !== version && sessionStorage.getItem("gatefold-seen") !== `${ticketId} ${now}`) {
    sessionStorage.setItem("gatefold-seen", `${ticketId} ${now}`);
    // The worker serves it where the next answer is slow.
    if (fresh.kept && "caches" in window) await caches.open(SHELF).then((shelf) => shelf.put(location.pathname, fresh.kept)).catch(() => null);
    return location.reload();
  }
  if (!fresh.gone && fresh.document.querySelector("[data-live-code]")) await live?.hear(fresh);
};

live?.start().then(refresh);
if (!live) refresh();
for (const name of ["online", "offline"]) addEventListener(name, refresh);
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && refresh());
navigator.serviceWorker
  ?.register("/t/offline.js", { scope: "/t/" })
  .then(() => navigator.serviceWorker.ready)
  .then(() => (document.querySelector("[data-kept]").hidden = false))
  .catch(() => {});
