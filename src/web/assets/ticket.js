// A ticket's own page: it is kept for when there is no network, and where its pass asks for live codes this phone makes them, every fifteen seconds, by a
// key that never leaves it.

import { bindingOf, liveCode, picture } from "/assets/ticket-code.js";

/** How long a code is shown. */
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
    await this.refresh();
    setInterval(() => this.tick(), 250);
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.refresh());
  }

  /** Asks which phone the ticket is bound to, and what time it is. Without network what was known holds. */
  async refresh() {
    const began = Date.now();
    const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(5_000) }).catch(() => null);
    const fresh = answer?.ok ? new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-live-code]") : null;
    // The ticket is gone, or asks for nothing any more: the page says what it is now.
    if (answer?.status === 404 || (answer?.ok && !fresh)) return location.reload();
    if (fresh) {
      this.heard = true;
      this.bound = fresh.dataset.bound;
      this.opensAt = Date.parse(fresh.dataset.opensAt);
      this.offset = Date.parse(fresh.dataset.now) - (began + Date.now()) / 2;
      if (this.key) await keys.write({ ...this.key, offset: this.offset }).catch(() => null);
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
    if (since === this.shown) return;
    this.shown = since;
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
      if (!this.key) {
        const pair = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
        const public_key = toBase64(new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)));
        await keys.write({ pair, public_key, offset: this.offset });
      }
      const key = await keys.read();
      const proof = new Uint8Array(await crypto.subtle.sign("Ed25519", key.pair.privateKey, bindingOf(ticketId, ofBase64(key.public_key))));
      const answer = await fetch(`/v1/tickets/${ticketId}/bindings`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer gf_order_${secret}` },
        body: JSON.stringify({ public_key: key.public_key, proof: toBase64(proof) }),
        signal: AbortSignal.timeout(15_000),
      }).catch(() => null);
      if (!answer?.ok) {
        this.tell(answer ? (answer.status === 409 ? "taken" : "failed") : "network");
        return;
      }
      const { certificate, server_time } = await answer.json();
      await keys.write({ ...key, certificate, offset: Date.parse(server_time) - Date.now() });
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
if (place) new LiveCode(place).start();

const isOff = document.querySelector("[data-no-network]");
const network = () => (isOff.hidden = navigator.onLine);
for (const name of ["online", "offline"]) addEventListener(name, network);
network();
navigator.serviceWorker?.register("/t/offline.js", { scope: "/t/" }).catch(() => {});
