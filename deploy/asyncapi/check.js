// Says what the AsyncAPI parser finds wrong with a document, and whether it is the same as the JSON on standard input:
// node check.js FILE < JSON
import { deepStrictEqual } from 'node:assert';
import { readFileSync } from 'node:fs';
import { json } from 'node:stream/consumers';
import { Parser } from '@asyncapi/parser';
import { load } from 'js-yaml';

const WARNING = 1;
// There will always be a later version.
const EXCUSED = ['asyncapi-latest-version'];

const text = readFileSync(process.argv[2], 'utf8');
deepStrictEqual(load(text), await json(process.stdin));

const { document, diagnostics } = await new Parser().parse(text);
const faults = diagnostics.filter((found) => found.severity <= WARNING && !EXCUSED.includes(found.code));
for (const { code, path, message } of faults) console.error(`${path.join('.')}: ${message} (${code})`);
if (document) console.log(`${document.operations().length} operations, ${document.messages().length} messages`);
process.exitCode = faults.length === 0 && document ? 0 : 1;
