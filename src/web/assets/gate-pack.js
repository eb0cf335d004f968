// What a gate carries with it (src/entry/pack.rs): reads packs and deltas, finds tickets and who is in. Pure. A list of 150,000 tickets stays two arrays of
// bytes, sorted by number; what changed since lies over them until it is folded in.

const TICKET = 18;
const ADMISSION = 19;
const BAND = 16;
const STATES = ["valid", "suspended", "exchanged", "void"];
/** How many changes lie over the arrays before they are folded in. */
const FOLD = 4_000;

const hex = (number) => number.toString(16).padStart(16, "0");
/** The part of a gate's id that stands in an admission: its bytes 8 to 11. */
const tagOf = ({ gate_id }) => Number.parseInt(gate_id.slice(19, 23) + gate_id.slice(24, 28), 16);
const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Reads the bytes of a pack: its head and the bytes of its lists. Throws where they are not one. */
export const read = (buffer) => {
  const bytes = new Uint8Array(buffer);
  const all = view(bytes);
  const format = { GFP3: 3, GFP4: 4 }[new TextDecoder().decode(bytes.subarray(0, 4))];
  if (!format) throw new Error("not a pack");
  let at = 8 + all.getUint32(4);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(8, at)));
  const list = (size) => {
    const end = at + 4 + all.getUint32(at) * size;
    if (end > bytes.length) throw new Error("a pack that ends early");
    const records = bytes.subarray(at + 4, end);
    at = end;
    return records;
  };
  const [tickets, admissions, bands] = [list(TICKET), list(ADMISSION), list(BAND)];
  const boxes = format > 3 ? all.getUint32(at) : 0;
  const first = at + (format > 3 ? 4 : 0);
  at = first;
  for (let n = 0; n < boxes; n++) at += 10 + all.getUint16(at + 8);
  const sealed = bytes.subarray(first, at);
  if (at !== bytes.length) throw new Error("a pack with more behind it");
  return { head, tickets, admissions, bands, sealed };
};

/** The boxes of a list of them, each under the number of its ticket. */
const boxesOf = (sealed) => {
  const all = view(sealed);
  const found = new Map();
  for (let at = 0; at < sealed.length; at += 10 + all.getUint16(at + 8)) found.set(all.getBigUint64(at), at);
  return found;
};

/** The first record of a sorted list whose number is not below this one. */
const lowest = (records, size, number) => {
  const all = view(records);
  let [low, high] = [0, records.length / size];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (all.getBigUint64(middle * size) < number) low = middle + 1;
    else high = middle;
  }
  return low;
};

/** The order of two records by the `width` bytes at their beginning. */
const compare = (a, b, width) => {
  for (let i = 0; i < width; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return 0;
};

/** Folds changed records into a sorted list; both have keys of `width` bytes at their beginning. What lies between two changes is copied at once. */
const fold = (records, size, width, changed) => {
  const news = [...changed].sort((a, b) => compare(a, b, width));
  const out = new Uint8Array(records.length + news.length * size);
  let [end, at] = [0, 0];
  const copy = (part) => {
    out.set(part, end);
    end += part.length;
  };
  for (const record of news) {
    let to = Math.max(at, lowest(records, size, view(record).getBigUint64(0)) * size);
    while (to < records.length && compare(records.subarray(to, to + size), record, width) < 0) to += size;
    copy(records.subarray(at, to));
    copy(record);
    const isThere = to < records.length && compare(records.subarray(to, to + size), record, width) === 0;
    at = isThere ? to + size : to;
  }
  copy(records.subarray(at));
  return out.slice(0, end);
};

/** A list of tickets, admissions and wristbands. `kept` is what `base()` and `changes()` gave before. */
export class Pack {
  constructor({ head = null, rules = null, tickets = new Uint8Array(), admissions = new Uint8Array(), bands = new Uint8Array(), sealed = new Uint8Array(), overSealed = [], overBands = new Map(), overTickets = new Map(), overAdmissions = new Map() } = {}) {
    Object.assign(this, { head, rules, tickets, admissions, bands, sealed, overSealed, overBands, overTickets, overAdmissions });
  }

  /** The large part, for keeping; it changes when `take` answers true. */
  base() {
    return { tickets: this.tickets, admissions: this.admissions, bands: this.bands, sealed: this.sealed };
  }

  /** The small part, for keeping with every delta. */
  changes() {
    return { head: this.head, rules: this.rules, overSealed: this.overSealed, overBands: this.overBands, overTickets: this.overTickets, overAdmissions: this.overAdmissions };
  }

  /** Where it stands in both feeds. */
  get position() {
    return this.head?.to ?? { tickets: 0, admissions: 0 };
  }

  /** Takes a pack or a delta in; whether the large part changed. */
  take({ head, tickets, admissions, bands = new Uint8Array(), sealed = new Uint8Array() }) {
    const whole = head.from.tickets === 0 && head.from.admissions === 0;
    if (whole || sealed.length) this.#boxes = undefined;
    if (head.rules) [this.rules, this.#gates] = [head.rules, undefined];
    this.head = { ...head, rules: undefined };
    if (whole) {
      Object.assign(this, { tickets: tickets.slice(), admissions: admissions.slice(), bands: bands.slice(), sealed: sealed.slice(), overSealed: [], overBands: new Map(), overTickets: new Map(), overAdmissions: new Map() });
      return true;
    }
    for (let at = 0; at < tickets.length; at += TICKET) {
      const record = tickets.slice(at, at + TICKET);
      this.overTickets.set(hex(view(record).getBigUint64(0)), record);
    }
    for (let at = 0; at < admissions.length; at += ADMISSION) {
      const record = admissions.slice(at, at + ADMISSION);
      const name = hex(view(record).getBigUint64(0));
      const others = (this.overAdmissions.get(name) ?? []).filter((one) => one[8] !== record[8] || one[9] !== record[9]);
      this.overAdmissions.set(name, [...others, record]);
    }
    for (let at = 0; at < bands.length; at += BAND) {
      const record = bands.slice(at, at + BAND);
      this.overBands.set(hex(view(record).getBigUint64(0)), record);
    }
    if (sealed.length) this.overSealed.push(sealed.slice());
    if (this.overTickets.size + this.overAdmissions.size + this.overBands.size < FOLD) return false;
    this.tickets = fold(this.tickets, TICKET, 8, this.overTickets.values());
    this.admissions = fold(this.admissions, ADMISSION, 10, [...this.overAdmissions.values()].flat());
    this.bands = fold(this.bands, BAND, 8, this.overBands.values());
    if (this.overSealed.length) this.#seal();
    this.overTickets = new Map();
    this.overAdmissions = new Map();
    this.overBands = new Map();
    return true;
  }

  /** Folds the boxes that came into those of before; the last one of a ticket counts. */
  #seal() {
    const parts = [this.sealed, ...this.overSealed];
    const last = new Map(parts.flatMap((part) => [...boxesOf(part)].map(([number, at]) => [number, part.subarray(at, at + 10 + view(part).getUint16(at + 8))])));
    const folded = new Uint8Array([...last.values()].reduce((n, box) => n + box.length, 0));
    let end = 0;
    for (const box of last.values()) {
      folded.set(box, end);
      end += box.length;
    }
    [this.sealed, this.overSealed, this.#boxes] = [folded, [], undefined];
  }

  /** The box of a ticket: what it says to staff, sealed under its code; null where it says nothing. */
  box(number) {
    this.#boxes ??= [this.sealed, ...this.overSealed].map((part) => ({ part, at: boxesOf(part) }));
    const found = this.#boxes.findLast(({ at }) => at.has(number));
    if (!found) return null;
    const at = found.at.get(number);
    return found.part.subarray(at + 10, at + 10 + view(found.part).getUint16(at + 8));
  }
  #boxes;

  /** The records of all tickets, sorted by number: what the digest of the list is made of. */
  records() {
    return this.overTickets.size ? fold(this.tickets, TICKET, 8, this.overTickets.values()) : this.tickets;
  }

  /** How many tickets there are. */
  get size() {
    const fresh = [...this.overTickets.keys()].filter((name) => !this.#listed(BigInt(`0x${name}`)));
    return this.tickets.length / TICKET + fresh.length;
  }

  #listed(number) {
    const at = lowest(this.tickets, TICKET, number) * TICKET;
    const record = this.tickets.subarray(at, at + TICKET);
    return record.length && view(record).getBigUint64(0) === number ? record : null;
  }

  /** The ticket of a number (a bigint), as `decide` wants it; null where it is not on the list. */
  ticket(number) {
    const record = this.overTickets.get(hex(number)) ?? this.#listed(number);
    if (!record) return null;
    const fields = view(record);
    return {
      kind: record[13] & 4 ? "add_on" : "pass",
      status: STATES[record[13] & 3],
      generation: record[12],
      day_mask: fields.getUint16(10),
      pass_number: fields.getUint16(8),
      has_note: Boolean(record[13] & 8),
      order_group: fields.getUint32(14),
    };
  }

  /** The number of the ticket that became a wristband, by the hash of what that carries (a bigint). */
  wearer(hash) {
    if (!hash) return undefined;
    for (const record of this.overBands.values()) if (view(record).getBigUint64(8) === hash) return view(record).getBigUint64(0);
    const all = view(this.bands);
    for (let at = 0; at < this.bands.length; at += BAND) {
      // What changed since counts instead of what it was.
      if (all.getBigUint64(at + 8) === hash && !this.overBands.has(hex(all.getBigUint64(at)))) return all.getBigUint64(at);
    }
    return undefined;
  }

  /** Whether anybody wears one. */
  get hasBands() {
    return this.bands.length > 0 || this.overBands.size > 0;
  }

  /** The gate of an admission, by the part of its id that is in the record. */
  #gate(tag) {
    this.#gates ??= new Map(this.rules.gates.map((gate) => [tagOf(gate), gate]));
    return this.#gates.get(tag);
  }
  #gates;

  #entry(record) {
    const [day_index, entry_no, flags] = record.subarray(8, 11);
    const fields = view(record);
    const gate = this.#gate(fields.getUint32(11));
    const entered_at = fields.getUint32(15) * 1000;
    return { day_index, entry_no, is_own: false, gate: gate?.name, zone_id: gate?.zone_id ?? null, entered_at, left_at: flags & 1 || null, undone_at: flags & 2 || null, was_cleared: Boolean(flags & 4) };
  }

  /** How many are in a zone on a day who came in since a moment, by the list. */
  inside(zone, day, since) {
    const tags = new Set(this.rules.gates.filter((gate) => gate.zone_id === zone).map(tagOf));
    const count = (records) => {
      const all = view(records);
      let n = 0;
      for (let at = 0; at < records.length; at += ADMISSION) {
        if (records[at + 8] === day && !records[at + 10] && tags.has(all.getUint32(at + 11)) && all.getUint32(at + 15) * 1000 >= since) n += 1;
      }
      return n;
    };
    // What changed since counts instead of what it was.
    const before = (news) => {
      const number = view(news).getBigUint64(0);
      const all = view(this.admissions);
      for (let at = lowest(this.admissions, ADMISSION, number) * ADMISSION; at < this.admissions.length && all.getBigUint64(at) === number; at += ADMISSION) {
        const record = this.admissions.subarray(at, at + ADMISSION);
        if (compare(record, news, 10) === 0) return count(record);
      }
      return 0;
    };
    const changed = [...this.overAdmissions.values()].flat().reduce((n, news) => n + count(news) - before(news), 0);
    return count(this.admissions) + changed;
  }

  /** What else of the order of a ticket is valid, passes and add-ons, each with its number. */
  others(number) {
    const group = this.ticket(number)?.order_group;
    if (group === undefined) return [];
    const all = view(this.tickets);
    const found = new Set();
    for (let at = 0; at < this.tickets.length; at += TICKET) if (all.getUint32(at + 14) === group) found.add(all.getBigUint64(at));
    for (const record of this.overTickets.values()) if (view(record).getUint32(14) === group) found.add(view(record).getBigUint64(0));
    found.delete(number);
    return [...found].map((other) => ({ number: other, ...this.ticket(other) })).filter((other) => other.status === "valid" || other.status === "exchanged");
  }

  /** The entries of a ticket, those that this device noted itself (`own`: { day_index, entry_no, entered_at, left_at, undone_at, isPending }) among them. */
  entries(number, own = []) {
    const found = new Map();
    const note = (record) => {
      const entry = this.#entry(record);
      found.set(`${entry.day_index}/${entry.entry_no}`, entry);
    };
    const all = view(this.admissions);
    for (let at = lowest(this.admissions, ADMISSION, number) * ADMISSION; at < this.admissions.length && all.getBigUint64(at) === number; at += ADMISSION) {
      note(this.admissions.subarray(at, at + ADMISSION));
    }
    for (const record of this.overAdmissions.get(hex(number)) ?? []) note(record);
    for (const entry of own) {
      const name = `${entry.day_index}/${entry.entry_no}`;
      const known = found.get(name);
      // Until the server has heard of it this device knows more; then the server does, which may have given the entry another number.
      const ends = known && !entry.isPending ? known : { left_at: entry.left_at ?? known?.left_at ?? null, undone_at: entry.undone_at ?? known?.undone_at ?? null };
      const { gate, zone_id } = entry.entered_at > 0 ? { gate: known?.gate, zone_id: entry.zone_id ?? null } : (known ?? entry);
      const entered_at = entry.entered_at || known?.entered_at || 0;
      found.set(name, { ...entry, gate, zone_id, entered_at, is_own: entry.entered_at > 0, left_at: ends.left_at, undone_at: ends.undone_at });
    }
    return [...found.values()].sort((a, b) => a.day_index - b.day_index || a.entry_no - b.entry_no);
  }

  /** Whether a number was given after this list was read: its first 24 bits are time, in steps of 16 seconds (10-rules 4). */
  isNewer(number) {
    const listed = BigInt(Math.floor(Date.parse(this.head.server_time) / 16_000)) & 0xffffffn;
    return (((number >> 40n) - listed + 1n) & 0xffffffn) < 0x800000n;
  }
}
