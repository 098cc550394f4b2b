// Signs as DOKU does, with DOKU's own package: reads jobs, a JSON array, and prints their signatures, a JSON array.
// Its two files are loaded by themselves: the package's front door calls DOKU over the network.

const tokenService = require("doku-nodejs-library/_services/tokenService");
const TokenController = require("doku-nodejs-library/_controllers/tokenController");

const kinds = {
  token: (job) => tokenService.generateSignature(job.private_key, job.client_id, job.timestamp),
  hmac: (job) =>
    tokenService.generateSymmetricSignature(
      "POST", job.path, job.token, JSON.parse(job.body), job.timestamp, job.secret_key),
  rsa: (job) =>
    tokenService.generateSignatureV2(
      job.private_key, job.client_id, job.timestamp, { path: job.path, body: JSON.parse(job.body) }),
};

let input = "";
process.stdin.on("data", (piece) => (input += piece));
process.stdin.on("end", () => {
  const signatures = JSON.parse(input).map((job) => kinds[job.kind](job));
  if (typeof TokenController !== "function") throw new Error("the package has another shape");
  process.stdout.write(JSON.stringify(signatures));
});
