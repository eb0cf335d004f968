// Holds the device's half of the rules to the table: `node decide.mjs <table> <module>`; prints what differs.
import { readFileSync } from "node:fs";

const [table, module] = process.argv.slice(2);
// By its text, because Node takes a .js file for a module by its package or by its age.
const { decide } = await import(`data:text/javascript,${encodeURIComponent(readFileSync(module, "utf8"))}`);
const { days, cases } = JSON.parse(readFileSync(table, "utf8"));
const moments = (row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value && /(_at|^at)$/.test(name) ? Date.parse(value) : value]));
const different = [];
for (const { name, ticket, rules, presented, entries, expected } of cases) {
  const { effect, first, ...rest } = decide(ticket, entries.map(moments), rules, days.map(moments), moments(presented));
  const found = { ...rest, effect: effect ? `${effect.kind} ${effect.day_index} ${effect.entry_no}` : "none", first_entry_no: first?.entry_no ?? null };
  for (const field of Object.keys(expected)) {
    if (found[field] !== expected[field]) different.push(`${name}: ${field} is ${found[field]}, the table says ${expected[field]}`);
  }
}
console.log(different.length ? different.join("\n") : `${cases.length} cases`);
process.exitCode = different.length ? 1 : 0;
