// The published schemas in Ajv's strict mode, as a reader of another language takes them:
//
//     node validate.mjs SCHEMAS EVENTS...
//
// SCHEMAS is a folder of <name>.json; in each folder of EVENTS, <name>.json and <name>.<anything>.json are documents of
// that schema. Prints how many of each there were and what is wrong, as JSON; ends with 1 where anything is.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const [schemas, ...events] = process.argv.slice(2);
const ajv = new Ajv({ strict: true, allErrors: true });
addFormats(ajv);

const wrong = [];
const jsonIn = (folder) => readdirSync(folder).filter((file) => file.endsWith(".json")).sort();
const read = (folder, file) => JSON.parse(readFileSync(join(folder, file), "utf8"));

const compiled = new Map();
for (const file of jsonIn(schemas)) {
  try {
    compiled.set(file.slice(0, -".json".length), ajv.compile(read(schemas, file)));
  } catch (error) {
    wrong.push(`${file}: ${error.message}`);
  }
}

let validated = 0;
for (const folder of events) {
  for (const file of jsonIn(folder)) {
    const name = [...compiled.keys()].find((each) => file.startsWith(`${each}.`));
    if (name === undefined) {
      wrong.push(`${file}: no schema of that name compiles`);
      continue;
    }
    validated += 1;
    const validate = compiled.get(name);
    if (!validate(read(folder, file))) {
      wrong.push(`${file}: ${ajv.errorsText(validate.errors, { dataVar: "" })}`);
    }
  }
}

console.log(JSON.stringify({ schemas: compiled.size, events: validated, wrong }, null, 2));
process.exitCode = wrong.length > 0 ? 1 : 0;
