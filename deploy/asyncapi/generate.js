// Has Modelina make classes of a document for TypeScript and Java, and puts beside them what reads its examples:
// node generate.js FILE.yaml DIR
// DIR/typescript: a module for each schema, and examples.ts, which is each example as a literal of its own type.
// DIR/java/jenius: a class for each schema. DIR/examples: NAME.json, or NAME.N.json for a further one.
import { JAVA_JACKSON_PRESET, JavaGenerator, TypeScriptGenerator } from '@asyncapi/modelina';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { load } from 'js-yaml';

const [file, to] = process.argv.slice(2);
const document = load(readFileSync(file, 'utf8'));
const folder = (name) => {
  mkdirSync(join(to, name), { recursive: true });
  return join(to, name);
};

const typescript = new TypeScriptGenerator({ modelType: 'interface', enumType: 'union', rawPropertyNames: true });
const modules = await typescript.generateCompleteModels(document, { exportType: 'named' });
for (const { modelName, result } of modules) writeFileSync(join(folder('typescript'), `${modelName}.ts`), result);

// Times stay texts: Jackson reads them with a module of its own only.
const texts = { typeMapping: { String: () => 'String' } };
const java = new JavaGenerator({ presets: [JAVA_JACKSON_PRESET], ...texts });
const classes = await java.generateCompleteModels(document, { packageName: 'jenius' });
for (const { modelName, result } of classes) writeFileSync(join(folder('java/jenius'), `${modelName}.java`), result);

const literals = [];
for (const { payload, examples } of Object.values(document.components.messages)) {
  const name = payload.$ref.split('/').pop();
  literals.push(`import { ${name} } from './${name}';`);
  examples.forEach((example, at) => {
    const json = JSON.stringify(example.payload, null, 2);
    writeFileSync(join(folder('examples'), at === 0 ? `${name}.json` : `${name}.${at}.json`), json);
    literals.push(`export const example${name}${at}: ${name} = ${json};`);
  });
}
writeFileSync(join(folder('typescript'), 'examples.ts'), `${literals.join('\n')}\n`);
console.log(modules.map(({ modelName }) => modelName).sort().join('\n'));
