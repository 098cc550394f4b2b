// Runs in a page of the console, after axe-core's own text: what that page does against WCAG 2.2 AA, a line each. Whatever does not go well
// with a screen reader, the keyboard or weak eyes counts, unless axe calls it minor.
const [done] = arguments;
const standards = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const wanted = { preload: false, resultTypes: ["violations"], runOnly: { type: "tag", values: standards } };
const lines = ({ violations }) =>
  violations
    .filter(({ impact }) => impact !== "minor")
    .flatMap(({ id, impact, nodes }) => nodes.map((node) => `${id} (${impact}): ${node.target} ${node.html} ${node.failureSummary}`));
window.axe.run(document, wanted).then(
  (found) => done(lines(found)),
  (error) => done([`axe failed: ${error}`]),
);
