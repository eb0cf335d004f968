// The verdict on a device: the same rules as src/entry/decide.rs, held to the same table (tests/vectors/decisions.json). Pure: what is known of a
// ticket, the rules of its pass, the days and how the code is presented go in; moments are milliseconds of Unix time.

/** How long an entry can be taken back by the device that let in. */
const UNDO = 15 * 60_000;

const refused = (reason, day_index = null, first = null) => ({ verdict: "refused", reason, instruction: null, day_index, effect: null, first });
const admitted = (day_index, effect = null) => ({ verdict: "admitted", reason: null, instruction: null, day_index, effect, first: null });

/** The reason of a ticket that is not valid. */
const STATES = { suspended: "suspended", exchanged: "exchanged", void: "revoked" };

const nextNumber = (entries, day) => Math.max(0, ...entries.filter((e) => e.day_index === day).map((e) => e.entry_no)) + 1;

/**
 * Decides a presentation of a well signed code of a ticket on the list.
 *
 * `effect` is null or { kind: "enter" | "leave" | "undo", day_index, entry_no }; `first` the entry that had admitted before.
 */
export const decide = (ticket, entries, rules, days, presented) => {
  const living = (day) => entries.filter((e) => e.day_index === day && !e.undone_at);
  const effect = (kind, { day_index, entry_no }) => ({ kind, day_index, entry_no });
  // Whoever wants to leave may leave, and a mistake may be taken back, whatever became of the ticket or the day.
  const lastOpen = entries.findLast((e) => !e.undone_at && !e.left_at);
  if (presented.kind === "exit") {
    return admitted(lastOpen?.day_index ?? null, lastOpen && ticket.kind === "pass" ? effect("leave", lastOpen) : null);
  }
  if (presented.kind === "undo") {
    const own = entries.findLast((e) => !e.undone_at && !e.left_at && e.is_own && presented.at - e.entered_at <= UNDO);
    return own ? admitted(own.day_index, effect("undo", own)) : refused("unknown", lastOpen?.day_index);
  }
  if (presented.generation !== ticket.generation) return refused("revoked");
  if (ticket.status !== "valid") return refused(STATES[ticket.status]);
  const looks = presented.kind === "look";
  if (ticket.kind === "add_on") {
    // An add-on is collected once; day 0 stands for "whenever".
    const [collected] = living(0);
    if (looks) return admitted(null);
    return collected ? refused("exchanged", null, collected) : admitted(null, effect("enter", { day_index: 0, entry_no: nextNumber(entries, 0) }));
  }
  const day = days.find((d) => d.opens_at <= presented.at && presented.at < d.closes_at);
  if (!day) return refused(days.some((d) => presented.at < d.opens_at) ? "too_early" : "too_late");
  const index = day.day_index;
  if (!((ticket.day_mask >> index) & 1)) return refused("wrong_day", index);
  if (!rules) return refused("unknown", index);
  if (presented.zone_id && rules.zone_ids.length && !rules.zone_ids.includes(presented.zone_id)) return refused("wrong_zone", index);
  const today = living(index);
  const first = today.reduce((least, e) => (least && least.entry_no < e.entry_no ? least : e), null);
  if (today.some((e) => !e.left_at)) return refused("already_inside", index, first);
  if (first && rules.reentry === "never") return refused("no_reentry", index, first);
  if (rules.instruction && presented.checked !== "yes") {
    return { verdict: "check", reason: null, instruction: rules.instruction, day_index: index, effect: null, first: null };
  }
  return admitted(index, looks ? null : effect("enter", { day_index: index, entry_no: nextNumber(entries, index) }));
};
