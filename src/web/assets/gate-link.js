// Who decides: the server while it answers within 800 ms, else this device, by its list (5-tickets-and-gates). After two misses in a row the device decides
// at once and looks for the server in the background; three good answers in a row, and the server decides again. What the device decided is reported.

import { identity, importKey, isCard, isLive, parse, unseal, verify, verifyCard, verifyClearing } from "/assets/gate-code.js";
import { cleared, decide, entryDay } from "/assets/gate-decide.js";
import { Pack, read } from "/assets/gate-pack.js";
import * as store from "/assets/gate-store.js";

/** How long the server may take for a verdict. */
const PATIENCE = 800;
const MISSES = 2;
const GOOD = 3;
/** How long a list is good after the last word of the server. */
const LIFE = 24 * 3_600_000;
/** The format of the list; a server of before knows the one of before, which has nothing sealed. */
const FORMAT = 4;
const FORMER = 3;
/** The most reports of one upload. */
const BATCH = 500;
/** What a wristband may carry (src/entry/bands). */
const BAND = /^[A-Z0-9._:-]{6,64}$/;

/** A row of the rules with its moments in milliseconds of Unix time. */
const moments = (row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, typeof value === "string" && /(_at|_until)$/.test(name) ? Date.parse(value) : value]));
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** A UUID of version 7 (RFC 9562): the device's own id of a scan. */
export const uuid7 = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let ms = Date.now();
  for (let i = 5; i >= 0; i--) {
    bytes[i] = ms % 256;
    ms = Math.floor(ms / 256);
  }
  bytes[6] = (bytes[6] & 15) | 0x70;
  bytes[8] = (bytes[8] & 63) | 0x80;
  const hex = [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
};

/** Whether the server read a report and cannot take it; one of before knows no head counts yet. */
const isRefused = (answer) => answer && answer.status < 500 && ![404, 405, 408, 429].includes(answer.status);
const halves = (all) => [all.slice(0, all.length / 2), all.slice(all.length / 2)];

/** Thrown where this device was revoked, or its list is too old to decide by. */
export class Unable extends Error {}

export class Link {
  pack = new Pack();
  keys = [];
  /** Milliseconds from this clock to that of the house. */
  offset = 0;
  /** When the list was as the server's last, by this clock. */
  heard = 0;
  /** What waits to be reported, and what the server cannot take. */
  waiting = new Map();
  aside = new Set();
  /** People who were counted by hand and are not reported, by the id of the count. */
  counts = new Map();
  /** Own entries by number. */
  own = new Map();
  /** When codes were scanned here first, by scan and number. */
  #seen = new Map();
  isOnline = navigator.onLine;
  #misses = 0;
  /** Whether the list did not fit its digest, and the position where it did last. */
  #isWrong = false;
  #fitted = 0;
  /** When it may be fetched again after it did not fit, and how long the next time. */
  #brake = { until: 0, wait: 60_000 };
  #format = FORMAT;
  #good = 0;

  /** `gate`: { gate_id, zone_id, festival_id }, as chosen now; `changed` is called when there is something to say. */
  constructor(gate, changed) {
    this.gate = gate;
    this.changed = changed;
    this.supervisor = this.#kept("supervisor");
  }

  /** What this browser keeps of a festival beside its list and its queue. */
  #kept = (name) => JSON.parse(localStorage.getItem(`gatefold-${name}-${this.gate.festival_id}`) ?? "null");
  #keep = (name, value) => localStorage.setItem(`gatefold-${name}-${this.gate.festival_id}`, JSON.stringify(value ?? null));
  /** Somebody signed out here, and the server has not heard of it yet. */
  #isLeaving = () => this.#kept("leaving") === true;

  /** Who is signed in on this device for a shift: { name, until }; null where nobody is. */
  get supervising() {
    return this.supervisor && Date.now() + this.offset < Date.parse(this.supervisor.until) ? this.supervisor : null;
  }

  #supervised(supervisor) {
    this.supervisor = supervisor ?? null;
    this.#keep("supervisor", this.supervisor);
    this.changed();
  }

  /** Reads what was kept, and begins to follow the server. */
  async start() {
    const [base, changes, queue, own] = await Promise.all([store.one("base"), store.one("changes"), store.all("queue"), store.all("own")]);
    // A list of another format is fetched anew.
    if (base && [FORMAT, FORMER].includes(changes?.pack.head?.format) && changes.pack.head.festival_id === this.gate.festival_id) {
      this.pack = new Pack({ ...base, ...changes.pack });
      this.offset = changes.offset;
      this.heard = changes.heard;
      await this.#import();
    }
    // What waits for another festival stays until this phone is paired there again.
    for (const scan of queue) if (scan.festival_id === this.gate.festival_id) (scan.head_count ? this.counts : this.waiting).set(scan.scan_id, scan);
    for (const entry of own) if (entry.festival_id === this.gate.festival_id) this.#noted(entry);
    addEventListener("offline", () => this.#missed(MISSES));
    this.changed();
    this.#follow();
    this.#report();
  }

  /** Whether this device can decide by itself. */
  get isReady() {
    return Boolean(this.pack.rules) && Date.now() - this.heard < LIFE;
  }

  /** Whether this browser verifies signatures; else only tickets of the list come in. */
  get canVerify() {
    return this.keys.every((key) => key.imported);
  }

  #import = async () => {
    this.keys = await Promise.all(this.pack.rules.keys.map(async (key) => ({ ...key, imported: await importKey(key) })));
  };

  #missed(times = 1) {
    this.#misses += times;
    this.#good = 0;
    if (this.#misses >= MISSES && this.isOnline) {
      this.isOnline = false;
      this.changed();
    }
  }

  #answered(serverTime, rtt) {
    if (serverTime) this.offset = Math.round(Date.parse(serverTime) + rtt / 2 - Date.now());
    this.#misses = 0;
    this.#good += 1;
    if (!this.isOnline && this.#good >= GOOD) {
      this.isOnline = true;
      this.changed();
    }
  }

  /** Asks the server; null where it does not answer in time. Throws where this device was revoked. */
  async #ask(path, { patience = PATIENCE, ...options } = {}) {
    try {
      const answer = await fetch(path, { ...options, cache: "no-store", signal: AbortSignal.timeout(patience) });
      if (answer.status === 401) {
        // What waits is kept: it may be reported when the device is paired again.
        await store.write("list", ({ list }) => list.clear());
        this.#keep("supervisor", null);
        throw new Unable("revoked");
      }
      return answer;
    } catch (error) {
      if (error instanceof Unable) throw error;
      return null;
    }
  }

  #json = (path, body, options) => this.#ask(path, { ...options, method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

  /** Decides a scan: { kind, code, after, checked, override }. What comes back has the shape of the server's answer, and `is_offline`. */
  async scan({ kind = "entry", code, after, checked, override }) {
    const scan_id = uuid7();
    const scan = { scan_id, kind, ticket_code: code, scanned_at: new Date().toISOString(), gate_id: this.gate.gate_id, after, checked, override };
    this.#saw(scan_id, code);
    // What this phone decided of the same code is not with the server yet: asked now, it would say otherwise.
    const isBehind = this.isReady && [...this.waiting.values()].some((one) => identity(one.ticket_code) === identity(code));
    if (this.isOnline && !isBehind) {
      const answer = await this.#json("/v1/scans", scan);
      const verdict = answer?.ok ? await answer.json().catch(() => null) : null;
      if (verdict) {
        this.#answered();
        // The server has it: nothing is lost where this phone cannot write it down.
        await this.#note(scan, verdict, []).catch((error) => (this.trouble = String(error)));
        return { ...verdict, kind };
      }
      if (answer?.status === 403) throw new Unable("override");
      this.#missed();
    }
    if (!this.isReady) throw new Unable(this.pack.rules ? "old" : "empty");
    if (override && !(await this.#mayOverride(override.card_code))) throw new Unable("override");
    const verdict = await this.#decide(scan);
    if (verdict.because && override.card_code) await this.#used(override.card_code);
    const { festival_id } = this.gate;
    const report = { ...scan, offset_ms: this.offset, verdict: verdict.verdict, reason: verdict.reason ?? undefined, festival_id, number: verdict.number };
    // On the disk before the sound.
    await this.#note(scan, verdict, [report]);
    this.changed();
    return { ...verdict, kind, is_offline: true };
  }

  /** How many people were counted by hand on this phone on this festival day, by kind. */
  get counted() {
    const { day, ...counted } = this.#kept("counted") ?? {};
    return day === this.#today() ? counted : {};
  }

  /** The festival day that is on, or the date of the festival. */
  #today = () => {
    const at = Date.now() + this.offset;
    const on = this.pack.rules?.days.find((day) => Date.parse(day.opens_at) <= at && at < Date.parse(day.closes_at));
    return on ? `day ${on.day_index}` : new Date(at).toLocaleDateString("sv", { timeZone: this.gate.zone });
  };

  /** Counts people by hand at a gate, one report each time: kind is `entry`, `exit` or `medical_exit`; below zero takes back. On the disk when it is done. */
  async count(kind, people, gate_id) {
    const scan_id = uuid7();
    const head_count = { count_id: scan_id, kind, people, counted_at: new Date().toISOString(), offset_ms: this.offset, gate_id };
    const one = { scan_id, festival_id: this.gate.festival_id, head_count };
    await store.write("queue", ({ queue }) => queue.put(one));
    this.counts.set(scan_id, one);
    try {
      const counted = this.counted;
      this.#keep("counted", { ...counted, day: this.#today(), [kind]: (counted[kind] ?? 0) + people });
    } catch (error) {
      // The figure is for the eye; what counts is on the disk.
      console.warn(error);
    }
    this.changed();
  }

  async #reportCounts(counts) {
    const answer = await this.#json("/v1/head-counts", { counts: counts.map((one) => one.head_count) }, { patience: 20_000 });
    if (answer?.ok) {
      await store.write("queue", ({ queue }) => counts.forEach(({ scan_id }) => queue.delete(scan_id)));
      for (const { scan_id } of counts) this.counts.delete(scan_id);
    } else if (isRefused(answer)) {
      if (counts.length === 1) this.aside.add(counts[0].scan_id);
      else for (const half of halves(counts)) await this.#reportCounts(half);
    }
    this.changed();
  }

  #saw(scan_id, code) {
    const number = parse(code)?.number;
    if (number === undefined) return;
    this.#seen.set(`${scan_id} ${number}`, Date.now() + this.offset);
    if (this.#seen.size > 1_000) this.#seen.delete(this.#seen.keys().next().value);
  }

  /** What a card says that this phone verified; null where it cannot, or where it opens nothing. */
  async #card(card_code) {
    return this.pack.rules ? verifyCard(card_code, this.pack.head.festival_id, this.keys, this.pack.rules, Date.now() + this.offset) : null;
  }

  /** Whether somebody may override here by what this phone knows: whoever is signed in, or whoever carries this card. */
  async #mayOverride(card_code) {
    if (!card_code) return Boolean(this.supervising);
    const card = await this.#card(card_code);
    return Boolean(card) && (this.#kept("cards")?.[card.number] ?? 0) < card.overrides;
  }

  /** Notes what the code of a clearing says: { zone_id, zone, clears_at, readmits_until }. It counts until the list is newer. */
  async takeClearing(text) {
    const clearing = this.pack.rules ? await verifyClearing(text, this.pack.head.festival_id, this.keys) : null;
    if (!clearing) throw new Unable("clearing");
    const others = this.#told().filter((one) => one.clearing_id !== clearing.clearing_id);
    this.#keep("clearings", [...others, { ...clearing, noted: Date.now() + this.offset }]);
    return { ...clearing, zone: this.pack.rules.zones.find((one) => one.zone_id === clearing.zone_id)?.name };
  }

  /** The clearings that this phone was told of by their codes, and the list cannot know yet. */
  #told() {
    const known = Date.parse(this.pack.head.server_time);
    return (this.#kept("clearings") ?? []).filter((one) => one.noted > known && !this.pack.rules.clearings.some(({ clearing_id }) => clearing_id === one.clearing_id));
  }

  /** Whether a text may be a card that counts: where this browser cannot verify it, the server does. */
  async takesCard(text) {
    return isCard(text) && ((await this.#mayOverride(text)) || (this.isOnline && !this.canVerify));
  }

  /** Counts a use of a card that the server does not know of. */
  async #used(card_code) {
    const { number } = await this.#card(card_code);
    const uses = this.#kept("cards") ?? {};
    this.#keep("cards", { ...uses, [number]: (uses[number] ?? 0) + 1 });
  }

  /** Signs a supervisor in by the six digits of their shift. */
  async signIn(shift_code) {
    const answer = await this.#json("/v1/device-shifts", { shift_code }, { patience: 10_000 });
    if (!answer?.ok) throw new Unable({ 403: "shift", 422: "shift", 429: "often" }[answer?.status] ?? "network");
    this.#keep("leaving", null);
    this.#supervised(await answer.json());
  }

  /** Signs them out: here at once, at the server as soon as it answers. */
  async signOut() {
    this.#keep("leaving", true);
    this.#supervised(null);
    await this.#leave();
  }

  async #leave() {
    const answer = await this.#ask("/v1/device-shifts/ends", { patience: 10_000, method: "POST" });
    if (answer?.ok) this.#keep("leaving", null);
  }

  /** Tickets by words of a name, an order's number or an address; the server alone knows, and tells supervisors. */
  async search(text) {
    const answer = await this.#json("/v1/ticket-searches", { text }, { patience: 20_000 });
    if (!answer?.ok) throw new Unable({ 403: "override", 422: "letters" }[answer?.status] ?? "network");
    return (await answer.json()).items;
  }

  /** Exchanges a ticket for a wristband: { exchange_id, ticket_code, checked, band }. The server alone can: two desks without it would give two bands. */
  async exchange(exchange) {
    const answer = await this.#json("/v1/exchanges", exchange, { patience: 10_000 });
    const known = answer?.ok ? await answer.json().catch(() => null) : null;
    // Where the answer to a band was lost nobody knows whether it was given: the same exchange is asked for again.
    if (!known) throw new Unable({ 403: "desk", 409: "band", 422: "band" }[answer?.status] ?? (exchange.band ? "exchange-again" : "exchange"));
    return known;
  }

  /** Ends the wristband of a ticket: `lost`, or `returned`. */
  async endBand(ticketId, why) {
    const answer = await this.#json(`/v1/tickets/${ticketId}/band-ends`, { why }, { patience: 10_000 });
    if (!answer?.ok) throw new Unable({ 403: "override", 404: "no-band" }[answer?.status] ?? "network");
  }

  /** Lets a ticket go from its phone, so that its holder takes another one. */
  async unbind(ticketId) {
    const answer = await this.#json(`/v1/tickets/${ticketId}/unbindings`, {}, { patience: 10_000 });
    if (!answer?.ok) throw new Unable({ 403: "override", 409: "unbind" }[answer?.status] ?? "network");
  }

  /** The code of a ticket: by the ten letters beside its picture, or by its id. */
  async lookUp(what) {
    const may = this.gate.is_supervisor || this.supervising;
    const answer = may ? await this.#json("/v1/code-lookups", what, { patience: 10_000 }) : null;
    if (!answer?.ok) throw new Unable(may ? ({ 404: "unlisted", 403: "short", 422: "unlisted" }[answer?.status] ?? "network") : "short");
    return (await answer.json()).ticket_code;
  }

  /** What the list says of a scan. */
  async #decide({ scan_id, kind, ticket_code, after, checked, override }) {
    const at = Date.now() + this.offset;
    const { rules, head } = this.pack;
    const shown = (decision, more) => ({ scan_id, decided_at: new Date(at).toISOString(), ...decision, ...more });
    const read = await verify(ticket_code, head.festival_id, this.keys);
    const worn = read.reason === "unknown" ? await this.#worn(ticket_code) : null;
    const { code, unverified } = worn ?? read;

    if (!code) return shown({ verdict: "refused", reason: read.reason });
    let ticket = this.pack.ticket(code.number);
    // Re-issued, or bound to a phone, since the list was read: the signature vouches for it, while signatures count.
    if (ticket && !worn && !unverified && !rules.list_only && code.generation > ticket.generation) ticket = { ...ticket, generation: code.generation, status: "valid" };
    if (!ticket) {
      if (unverified || rules.list_only || !this.pack.isNewer(code.number)) return shown({ verdict: "refused", reason: "unknown" });
      // Sold since the list was read: the signature vouches for it.
      ticket = { kind: code.kind, status: "valid", generation: code.generation, day_mask: code.day_mask, pass_number: code.pass_number };
    }
    const pass = rules.passes.find((one) => one.pass_number === ticket.pass_number);
    const ground = this.#ground();
    const mine = pass && this.#allows(pass);
    const pending = this.#pending();
    const entries = this.#entries(code.number, pending);
    const { gate_id, zone_id } = this.gate;
    const lifts = override && { reasons: override.reasons, because: override.because };
    const day = entryDay(ticket.day_mask, mine, ground.days, at, lifts);
    const came = day === undefined ? [] : this.pack.others(code.number).map((other) => ({ ...other, entries: cleared(this.#entries(other.number, pending), ground, at) }));
    const [others, extras] = ["pass", "add_on"].map((what) => came.filter((other) => other.kind === what));
    const isOnSite = (entry) => entry.day_index === day && !entry.left_at && !entry.undone_at && !ground.inner.includes(entry.zone_id);
    const wanted = rules.passes.filter((one) => pass?.companion_pass_ids.includes(one.pass_id)).map((one) => one.pass_number);
    const company = wanted.length ? others.some((other) => wanted.includes(other.pass_number) && other.entries.some(isOnSite)) : null;
    const comes = kind === "entry" || kind === "look";
    const presented = { kind, generation: code.generation, is_live: !unverified && isLive(code, at, this.#seen.get(`${after} ${code.number}`)), is_band: Boolean(worn), gate_id, zone_id, checked: checked ?? null, lifts, at, company, places: comes ? this.#places(zone_id, day, ground, at, pending) : undefined };
    const { effects, first, day_index, overridden, ...decision } = decide(ticket, entries, mine, ground, presented);
    const box = code.signature && (kind === "entry" || kind === "look") && ticket.status === "valid" && code.generation === ticket.generation ? this.pack.box(code.number) : null;
    const said = box && (await unseal(box, code.signature));
    const number = code.number.toString(16).padStart(16, "0").toUpperCase();
    const late = others.filter((other) => (other.day_mask >> day) & 1 && !other.entries.some((entry) => entry.day_index === day && !entry.undone_at)).length;
    return shown(decision, {
      pass: pass && { name: pass.name, color: pass.color, color_name: pass.color_name },
      ticket_end: number.slice(12),
      day: rules.days.find((day) => day.day_index === day_index)?.name,
      first_entry: first?.entered_at > 0 ? { entered_at: new Date(first.entered_at).toISOString(), gate: first.gate, is_own: first.is_own } : undefined,
      because: overridden.length && decision.verdict === "admitted" ? override.because : undefined,
      to_collect: comes && ticket.kind === "pass" && decision.verdict === "admitted" ? this.#toCollect(extras) : undefined,
      others_not_in: (kind === "entry" && ticket.kind === "pass" && decision.verdict === "admitted" && late) || undefined,
      note: (ticket.has_note && said?.note) || undefined,
      holder_name: said?.name ?? undefined,
      effects,
      number: code.number,
    });
  }

  /** What a wristband stands for, by what it carries: { code }; null where nobody wears it. */
  async #worn(text) {
    const carried = text.trim().toUpperCase();
    if (!this.pack.hasBands || !this.pack.rules.band_salt || !BAND.test(carried)) return null;
    const salt = Uint8Array.from(atob(this.pack.rules.band_salt), (c) => c.charCodeAt(0));
    const key = await crypto.subtle.importKey("raw", salt, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    const number = this.pack.wearer(new DataView(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(carried))).getBigUint64(0));
    const ticket = number === undefined ? null : this.pack.ticket(number);
    return ticket && { code: { ...ticket, number } };
  }

  /** Whether somebody wears a band that carries a text, by the list. */
  async isBand(text) {
    return this.pack.rules ? Boolean(await this.#worn(text)) : false;
  }

  /** The add-ons that nobody collected yet, by name. */
  #toCollect(extras) {
    const left = extras.filter(({ entries }) => !entries.some((entry) => entry.day_index === 0 && !entry.undone_at));
    const named = (this.pack.rules.add_ons ?? []).map(({ add_on_number, name }) => ({ name, quantity: left.filter(({ pass_number }) => pass_number === add_on_number).length }));
    return named.filter(({ quantity }) => quantity > 0);
  }

  /** What holds for everybody, with its moments as numbers. */
  #ground() {
    const { days, holds, clearings, zones } = this.pack.rules;
    const inner = zones.filter((zone) => zone.is_inner).map((zone) => zone.zone_id);
    return { days: days.map(moments), holds: holds.map(moments), clearings: [...clearings, ...this.#told()].map(moments), inner };
  }

  /** What a pass allows at this gate. */
  #allows(pass) {
    const gate = this.pack.rules.gates.find((one) => one.gate_id === this.gate.gate_id);
    const { zone_ids, reentry, entries_a_day, windows, check_instruction, needs_live_code } = pass;
    const is_taken = !gate?.pass_ids.length || gate.pass_ids.includes(pass.pass_id);
    return { zone_ids, is_taken, reentry, entries_a_day, windows: windows.map(moments), instruction: check_instruction ?? null, needs_live_code };
  }

  /** The numbers of tickets whose scans wait to be reported. */
  #pending() {
    const numbers = new Set();
    for (const { number } of this.waiting.values()) if (number !== undefined) numbers.add(number);
    return numbers;
  }

  /** The entries of a ticket: those of the list, and what this device knows before the list does. */
  #entries(number, pending) {
    // What the server has heard of is as the server says, once the list had the time to hear of it, too.
    const isPending = (entry) => pending.has(number) || Date.now() - entry.changed < 30_000;
    return this.pack.entries(number, (this.own.get(number) ?? []).map((entry) => ({ ...entry, isPending: isPending(entry) })));
  }

  /** Places that are left in a zone, as far as this device knows; undefined where nobody counts. */
  #places(zone, day, ground, at, pending) {
    const capacity = this.pack.rules.zones.find((one) => one.zone_id === zone)?.capacity;
    if (!capacity || day === undefined) return undefined;
    const since = Math.max(0, ...ground.clearings.filter((c) => (!c.zone_id || c.zone_id === zone) && c.clears_at <= at).map((c) => c.clears_at));
    const isPass = (number) => this.pack.ticket(number)?.kind !== "add_on";
    const isIn = (entry) => entry.day_index === day && entry.zone_id === zone && !entry.left_at && !entry.undone_at && entry.entered_at >= since;
    // What the list does not know yet.
    const fresh = new Set(pending);
    for (const [number, own] of this.own) if (own.some((entry) => Date.now() - entry.changed < 30_000)) fresh.add(number);
    const news = [...fresh].filter(isPass).reduce((n, number) => n + this.#entries(number, pending).filter(isIn).length - this.pack.entries(number).filter(isIn).length, 0);
    // Whom this phone counted by hand and did not report.
    const zoneOf = (gate_id) => this.pack.rules.gates.find((one) => one.gate_id === gate_id)?.zone_id ?? null;
    const byHand = [...this.counts.values()].filter(({ head_count }) => zoneOf(head_count.gate_id) === zone).reduce((n, { head_count: { kind, people } }) => n + (kind === "entry" ? people : -people), 0);
    return capacity - Math.max(0, this.pack.inside(zone, day, since) + news + byHand);
  }

  /** Writes down what a verdict changed, with what is to be reported. */
  async #note(scan, verdict, reports) {
    const local = verdict.effects === undefined && verdict.verdict === "admitted" && this.pack.rules ? await this.#decide(scan) : verdict;
    const entries = (local.effects ?? []).map((effect) => this.#changedEntry(scan, effect, local.number));
    if (reports.length || entries.length) {
      await store.write(["queue", "own"], ({ queue, own }) => {
        for (const report of reports) queue.put(report);
        for (const entry of entries) own.put(entry);
      });
    }
    for (const report of reports) this.waiting.set(report.scan_id, report);
    for (const entry of entries) this.#noted(entry);
  }

  #changedEntry({ scan_id }, { kind, day_index, entry_no }, number) {
    const at = Date.now() + this.offset;
    const { festival_id, zone_id } = this.gate;
    const fresh = { scan_id, number, day_index, entry_no, zone_id, left_at: null, undone_at: null, festival_id, changed: Date.now() };
    if (kind === "enter") return { ...fresh, entered_at: at };
    const own = (this.own.get(number) ?? []).find((one) => one.day_index === day_index && one.entry_no === entry_no);
    // Somebody leaves whom another gate let in: this device notes the end of an entry that is not its own, under an id of its own.
    const entry = own ? { ...own, changed: Date.now() } : { ...fresh, scan_id: uuid7(), entered_at: 0 };
    return kind === "undo" ? { ...entry, undone_at: at } : { ...entry, left_at: at };
  }

  #noted(entry) {
    const others = (this.own.get(entry.number) ?? []).filter((one) => one.scan_id !== entry.scan_id);
    this.own.set(entry.number, [...others, entry]);
  }

  /** Fetches the list, then what changed, every few seconds. */
  async #follow() {
    for (;;) {
      try {
        const began = performance.now();
        const pulse = await this.#json("/v1/heartbeats", await this.#pulse());
        if (pulse?.ok) {
          const { server_time, supervisor } = await pulse.json();
          this.#answered(server_time, performance.now() - began);
          if (this.#isLeaving()) await this.#leave();
          else if (supervisor?.until !== this.supervisor?.until) this.#supervised(supervisor);
          await this.#sync();
        } else this.#missed();
      } catch (error) {
        if (error instanceof Unable) return location.reload();
        this.trouble = String(error);
      }
      this.changed();
      await pause(this.isOnline ? 4_000 : 1_500);
    }
  }

  async #pulse() {
    const battery = await navigator.getBattery?.().catch(() => null);
    return { waiting: this.waiting.size + this.counts.size, gate_id: this.gate.gate_id, battery: battery ? Math.round(battery.level * 100) : undefined, is_charging: battery?.charging };
  }

  async #sync() {
    for (let more = true; more; ) {
      // A list of before has nothing sealed: where the server knows ours it is fetched anew.
      const isAnew = this.#isWrong || (this.#format === FORMAT && this.pack.head?.format === FORMER);
      const { tickets, admissions } = isAnew ? { tickets: 0, admissions: 0 } : this.pack.position;
      const query = new URLSearchParams({ tickets, admissions, format: this.#format, ...(this.pack.rules && { rules: this.pack.head.rules_tag }) });
      const answer = await this.#ask(`/v1/pack?${query}`, { patience: 60_000 });
      if (!answer?.ok) {
        this.#format = answer?.status === 422 || answer?.status === 400 ? FORMER : FORMAT;
        return;
      }
      const news = read(await answer.arrayBuffer());
      if (news.head.digest && !(await this.#fits(news.tickets, news.head.digest))) throw new Error("a list that does not fit its digest");
      const tag = this.pack.head?.rules_tag;
      const isLarge = this.pack.take(news);
      if (this.pack.head.rules_tag !== tag || !this.keys.length) await this.#import();
      if (news.head.digest) this.#isWrong = false;
      if (this.#format === FORMER) this.#format = FORMAT;
      const { list_digest, to } = news.head;
      if (list_digest && to.tickets !== this.#fitted) {
        // What this phone believes is not what the server knows: it decides by it until it has the whole list again. Where that does not fit either, it asks
        // less and less often.
        if (await this.#fits(this.pack.records(), list_digest)) [this.#fitted, this.#brake] = [to.tickets, { until: 0, wait: 60_000 }];
        else if (Date.now() >= this.#brake.until) {
          console.warn("the list does not fit its digest; it is fetched again");
          this.#isWrong = true;
          this.#brake = { until: Date.now() + this.#brake.wait * (1 + Math.random()), wait: this.#brake.wait * 2 };
        }
      }
      if (!news.head.more && !this.#isWrong) this.heard = Date.now();
      const changes = { pack: this.pack.changes(), offset: this.offset, heard: this.heard };
      await store.write("list", ({ list }) => {
        if (isLarge) list.put(this.pack.base(), "base");
        list.put(changes, "changes");
      });
      more = news.head.more && !this.#isWrong;
    }
  }

  async #fits(records, wanted) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", records));
    return wanted === [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  /** Reports what this device decided by itself, until nothing waits. */
  async #report() {
    for (;;) {
      const [scans, counts] = [this.waiting, this.counts].map((all) => [...all.values()].filter((one) => !this.aside.has(one.scan_id)).slice(0, BATCH));
      for (const [some, report] of [[scans, () => this.#send(scans)], [counts, () => this.#reportCounts(counts)]]) {
        try {
          if (some.length) await report();
        } catch (error) {
          if (error instanceof Unable) return;
          this.trouble = String(error);
        }
      }
      await pause(Math.max(scans.length, counts.length) === BATCH && this.isOnline ? 50 : 2_000);
    }
  }

  async #send(scans) {
    const bare = scans.map(({ festival_id, number, ...scan }) => scan);
    const answer = await this.#json("/v1/scan-batches", { sent_at: new Date().toISOString(), scans: bare }, { patience: 20_000 });
    if (answer?.ok) {
      const { items } = await answer.json();
      await store.write("queue", ({ queue }) => items.forEach(({ scan_id }) => queue.delete(scan_id)));
      for (const { scan_id } of items) this.waiting.delete(scan_id);
      this.changed();
    } else if (isRefused(answer)) {
      // One that the server cannot read shall not keep the others back; it stays here, and is said.
      if (scans.length === 1) this.aside.add(scans[0].scan_id);
      else for (const half of halves(scans)) await this.#send(half);
      this.changed();
    }
  }
}
