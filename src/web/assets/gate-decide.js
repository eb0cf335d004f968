// The verdict on a device: the same rules as src/entry/decide.rs, held to the same table (tests/vectors/decisions.json). Pure: what is known of a
// ticket, the rules of its pass at the gate, what holds for everybody and how the code is presented go in; moments are milliseconds of Unix time.

/** How long an entry can be taken back by the device that let in. */
const UNDO = 15 * 60_000;

const refused = (reason, day_index = null, first = null) => ({ verdict: "refused", reason, instruction: null, day_index, effects: [], first, overridden: [] });
const admitted = (day_index, effects = []) => ({ verdict: "admitted", reason: null, instruction: null, day_index, effects, first: null, overridden: [] });
const effect = (kind, { day_index, entry_no }) => ({ kind, day_index, entry_no });

/** The reason of a ticket that is not valid. */
const STATES = { suspended: "suspended", exchanged: "exchanged", void: "revoked" };

/** The reasons that a supervisor may override. */
const OVERRIDABLE = ["wrong_day", "cancelled_day", "wrong_gate", "wrong_zone", "too_early", "too_late", "already_inside", "no_reentry", "needs_companion", "live_code_required"];
export const isOverridable = (reason) => OVERRIDABLE.includes(reason);

const isOpen = (entry) => !entry.left_at && !entry.undone_at;
const nextNumber = (entries, day) => Math.max(0, ...entries.filter((e) => e.day_index === day).map((e) => e.entry_no)) + 1;
/** The first of entries, by their number. */
const firstOf = (entries) => entries.reduce((least, e) => (least && least.entry_no < e.entry_no ? least : e), null);

/** Where somebody is who came in by a gate to this zone: in an inner zone, or on the site, whichever of its gates it was. */
const placeOf = (ground, zone) => (zone && ground.inner.includes(zone) ? zone : null);
const isCleared = (clearing, zone) => !clearing.zone_id || clearing.zone_id === (zone ?? null);

/** Entries as they are after everybody was put out: whoever was in when their place was cleared left then. */
export const cleared = (entries, ground, at) =>
  entries.map((entry) => {
    const out = ground.clearings.filter((c) => isOpen(entry) && isCleared(c, entry.zone_id) && entry.entered_at < c.clears_at && c.clears_at <= at);
    return out.length ? { ...entry, left_at: Math.min(...out.map((c) => c.clears_at)) } : entry;
  });

/** The festival day that an entry at a moment is for: the one that it lies in, or one of the ticket whose window has begun already. */
export const dayOf = (dayMask, rules, days, at) => {
  const isOf = (day) => (dayMask >> day.day_index) & 1;
  const early = (day) => (rules?.windows ?? []).some((w) => w.day_index === day.day_index && w.from_at <= at && at < w.until_at);
  const current = days.find((d) => d.opens_at <= at && at < d.closes_at);
  return (current && isOf(current) && current) || days.find((d) => isOf(d) && early(d)) || current || null;
};

/** The day that an entry outside of all days is for: the next one of the ticket, else the last that had begun, or the first. */
const dayOutside = (dayMask, days, at) => {
  const inOrder = [...days].sort((a, b) => a.opens_at - b.opens_at);
  const next = inOrder.find((d) => at < d.opens_at && (dayMask >> d.day_index) & 1);
  return (next ?? inOrder.filter((d) => d.opens_at <= at).at(-1) ?? days[0])?.day_index;
};

/** The day that an entry is counted for, where `lifts` may let it in outside of all days. */
export const entryDay = (dayMask, rules, days, at, lifts) =>
  dayOf(dayMask, rules, days, at)?.day_index ?? (lifts?.reasons.some((r) => r === "too_early" || r === "too_late") ? dayOutside(dayMask, days, at) : undefined);

/** Why a moment is outside of the windows of a day at a gate; a day without windows is open. */
const outside = (windows, day, gate, at) => {
  const ofDay = windows.filter((w) => w.day_index === day);
  const here = ofDay.filter((w) => !w.gate_ids?.length || w.gate_ids.includes(gate));
  if (!ofDay.length || here.some((w) => w.from_at <= at && at < w.until_at)) return null;
  if (!here.length) return "wrong_gate";
  return here.some((w) => at < w.from_at) ? "too_early" : "too_late";
};

/** The entries that an exit at a gate ends: the last open one of each place that it leads out of. */
const leftBy = (entries, ground, zone) => {
  const out = placeOf(ground, zone);
  const places = new Set();
  const left = [...entries].reverse().filter((entry) => {
    const place = placeOf(ground, entry.zone_id);
    const is = isOpen(entry) && (out === null || place === out) && !places.has(place);
    if (is) places.add(place);
    return is;
  });
  return left.reverse();
};

const collect = (entries, presented) => {
  // An add-on is collected once; day 0 stands for "whenever".
  const collected = firstOf(entries.filter((e) => e.day_index === 0 && !e.undone_at));
  if (presented.kind === "look") return admitted(null);
  return collected ? refused("exchanged", null, collected) : admitted(null, [effect("enter", { day_index: 0, entry_no: nextNumber(entries, 0) })]);
};

/** Why earlier entries of a pass bar another one on a day, with the first of them; null where they do not. */
const barred = (living, again, most, since) => {
  const first = firstOf(living);
  if (!first) return null;
  // Whoever was put out comes back, not whoever had left before.
  const isBack = since !== null && living.some((e) => e.left_at === since || (e.was_cleared && e.entered_at < since));
  const counted = living.filter((e) => !isBack || e.entered_at >= since).length;
  if (again === "times_a_day") return counted >= most ? ["no_reentry", first] : null;
  if (living.some(isOpen)) return ["already_inside", first];
  return again === "never" && counted > 0 ? ["no_reentry", first] : null;
};

/** Since when entries into a zone count, where it was cleared and whoever was in may come back. */
const readmitted = (ground, zone, at) => {
  const open = ground.clearings.filter((c) => isCleared(c, zone) && c.clears_at <= at && c.readmits_until && at < c.readmits_until);
  return open.length ? Math.max(...open.map((c) => c.clears_at)) : null;
};

/** `lifted`: the reasons that a supervisor overrode already. */
const enter = (ticket, entries, rules, ground, presented, lifted) => {
  const { at, gate_id, zone_id } = presented;
  const holds = (reason) => !lifted.includes(reason);
  const covers = (h) => (h.gate_id ? h.gate_id === gate_id : !h.zone_id || h.zone_id === zone_id) && h.began_at <= at && (!h.ended_at || at < h.ended_at);
  const day = dayOf(ticket.day_mask, rules, ground.days, at)?.day_index;
  if (ground.holds.some(covers)) return refused("gate_on_hold", day ?? null);
  const outsideOfDays = ground.days.some((d) => at < d.opens_at) ? "too_early" : "too_late";
  const index = day ?? (holds(outsideOfDays) ? undefined : dayOutside(ticket.day_mask, ground.days, at));
  if (index === undefined) return refused(outsideOfDays);
  if (holds("wrong_day") && !((ticket.day_mask >> index) & 1)) return refused("wrong_day", index);
  if (!rules) return refused("unknown", index);
  if (holds("wrong_gate") && rules.is_taken === false) return refused("wrong_gate", index);
  if (holds("wrong_zone") && zone_id && rules.zone_ids.length && !rules.zone_ids.includes(zone_id)) return refused("wrong_zone", index);
  const closed = outside(rules.windows ?? [], index, gate_id, at);
  if (closed && holds(closed)) return refused(closed, index);
  if (holds("live_code_required") && rules.needs_live_code && !presented.is_live && !presented.is_band) return refused("live_code_required", index);
  const place = placeOf(ground, zone_id);
  // Inside the site people go where they like.
  const again = place ? "after_exit" : rules.reentry;
  const living = entries.filter((e) => e.day_index === index && !e.undone_at && placeOf(ground, e.zone_id) === place);
  const bar = barred(living, again, rules.entries_a_day ?? 1, readmitted(ground, zone_id, at));
  if (bar && holds(bar[0])) return refused(bar[0], index, bar[1]);
  if (holds("needs_companion") && presented.company === false) return refused("needs_companion", index);
  // Where exits need not be scanned, or a supervisor says so, whoever comes again has left, and is counted there still.
  const hasLeft = again === "times_a_day" || presented.lifts?.because === "left_unscanned";
  const before = hasLeft && living.findLast(isOpen);
  const own = before && (before.zone_id ?? null) === (zone_id ?? null) ? 1 : 0;
  if (typeof presented.places === "number" && presented.places + own <= 0) return refused("zone_full", index);
  const instruction = rules.instruction ?? (ticket.has_note ? "note" : null);
  if (instruction && presented.checked !== "yes") return { ...admitted(index), verdict: "check", instruction };
  if (presented.kind === "look") return admitted(index);
  return admitted(index, [...(before ? [effect("leave", before)] : []), effect("enter", { day_index: index, entry_no: nextNumber(entries, index) })]);
};

/** Decides by the rules without those that were overridden. */
const judge = (ticket, entries, rules, ground, presented, lifted) => {
  // Whoever wants to leave may leave, and a mistake may be taken back, whatever became of the ticket or the day.
  if (presented.kind === "exit") {
    const left = leftBy(entries, ground, presented.zone_id);
    return admitted(left.at(-1)?.day_index ?? null, ticket.kind === "pass" ? left.map((entry) => effect("leave", entry)) : []);
  }
  if (presented.kind === "undo") {
    const own = entries.findLast((e) => isOpen(e) && e.is_own && presented.at - e.entered_at <= UNDO);
    return own ? admitted(own.day_index, [effect("undo", own)]) : refused("unknown", entries.findLast(isOpen)?.day_index ?? null);
  }
  if (presented.generation !== ticket.generation) return refused("revoked");
  // A band opens for the ticket that became it, and for no other: what outlived its exchange is dead.
  const isWorn = presented.is_band && ticket.status === "exchanged";
  if (presented.is_band && ticket.status === "valid") return refused("revoked");
  if (ticket.status !== "valid" && !isWorn) return refused(STATES[ticket.status]);
  return ticket.kind === "add_on" ? collect(entries, presented) : enter(ticket, entries, rules, ground, presented, lifted);
};

/**
 * Decides a presentation of a well signed code of a ticket on the list. Where a rule refuses that a supervisor has seen and overrides, the next rule
 * decides: so none is overridden that nobody saw.
 *
 * `ground`: { days, holds, clearings, inner }; `presented.lifts`: { reasons, because } of a supervisor who may. `effects` are of { kind: "enter" | "leave" |
 * "undo", day_index, entry_no }; `first` is the entry that had admitted before; `overridden` the rules that were overridden.
 */
export const decide = (ticket, entered, rules, ground, presented) => {
  const entries = cleared(entered, ground, presented.at);
  const overridden = [];
  let first = null;
  for (;;) {
    const decision = judge(ticket, entries, rules, ground, presented, overridden);
    const { reason } = decision;
    const isLifted = presented.kind === "entry" && isOverridable(reason) && presented.lifts?.reasons.includes(reason) && !overridden.includes(reason);
    if (!isLifted) return { ...decision, first: decision.first ?? first, overridden };
    first ??= decision.first;
    overridden.push(reason);
  }
};
