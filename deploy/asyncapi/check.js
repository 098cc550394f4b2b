// Says what the AsyncAPI parser finds wrong with a document: node check.js FILE
import { readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';

const WARNING = 1;
// There will always be a later version.
const EXCUSED = ['asyncapi-latest-version'];

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], 'utf8'));
const faults = diagnostics.filter((found) => found.severity <= WARNING && !EXCUSED.includes(found.code));
for (const { code, path, message } of faults) console.error(`${path.join('.')}: ${message} (${code})`);
if (document) console.log(`${document.operations().length} operations, ${document.messages().length} messages`);
process.exitCode = faults.length === 0 && document ? 0 : 1;
