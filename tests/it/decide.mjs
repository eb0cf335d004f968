// Holds the device's half of the rules to the table: `node decide.mjs <table> <module>`; prints what differs.
import { readFileSync } from "node:fs";

const [table, module] = process.argv.slice(2);
// By its text, because Node takes a .js file for a module by its package or by its age.
const { decide } = await import(`data:text/javascript,${encodeURIComponent(readFileSync(module, "utf8"))}`);
const { days, cases } = JSON.parse(readFileSync(table, "utf8"));
const isMoment = /(_at|_until|^at)$/;
const moments = (row) =>
  Object.fromEntries(Object.entries(row).map(([name, value]) => [name, Array.isArray(value) ? value.map((v) => (v && typeof v === "object" ? moments(v) : v)) : value && isMoment.test(name) ? Date.parse(value) : value]));
const different = [];
for (const { name, ticket, rules, ground, presented, entries, expected } of cases) {
  const everybody = { days: days.map(moments), holds: [], clearings: [], inner: [], ...moments(ground ?? {}) };
  const { effects, first, ...rest } = decide(ticket, entries.map(moments), rules && moments(rules), everybody, moments(presented));
  const told = effects.map(({ kind, day_index, entry_no }) => `${kind} ${day_index} ${entry_no}`).join(", ");
  const found = { ...rest, effects: told, first_entry_no: first?.entry_no ?? null };
  for (const field of Object.keys(expected)) {
    if (JSON.stringify(found[field]) !== JSON.stringify(expected[field])) different.push(`${name}: ${field} is ${found[field]}, the table says ${expected[field]}`);
  }
}
console.log(different.length ? different.join("\n") : `${cases.length} cases`);
process.exitCode = different.length ? 1 : 0;
