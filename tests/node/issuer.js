// An issuer of tokens: signs them, and has its key set at an https:// URL, with the certificate and
// key that it is given. For each line that it reads it forgets its keys and makes new ones.
import crypto from "node:crypto";
import fs from "node:fs";
import https from "node:https";
import readline from "node:readline";

const KINDS = {
  RS256: { kind: "rsa", options: { modulusLength: 2048 }, hash: "sha256", sign: {} },
  PS256: {
    kind: "rsa",
    options: { modulusLength: 2048 },
    hash: "sha256",
    sign: { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 },
  },
  ES256: {
    kind: "ec",
    options: { namedCurve: "P-256" },
    hash: "sha256",
    sign: { dsaEncoding: "ieee-p1363" },
  },
  EdDSA: { kind: "ed25519", options: {}, hash: null, sign: {} },
};

let generation = 0;
let keys = [];

function renew() {
  generation += 1;
  keys = [];
  const tokens = {};
  for (const [alg, { kind, options, hash, sign }] of Object.entries(KINDS)) {
    const { publicKey, privateKey } = crypto.generateKeyPairSync(kind, options);
    const kid = `${alg}-${generation}`;
    keys.push({ ...publicKey.export({ format: "jwk" }), kid, alg, use: "sig" });
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const now = Math.floor(Date.now() / 1000);
    const claims = { sub: "ann", iat: now, exp: now + 600, subscribe: ["orders.**"] };
    const message = `${part({ alg, kid, typ: "JWT" })}.${part(claims)}`;
    const signature = crypto.sign(hash, Buffer.from(message), { key: privateKey, ...sign });
    tokens[alg] = `${message}.${signature.toString("base64url")}`;
  }
  return tokens;
}

const [cert, key] = process.argv.slice(2).map((file) => fs.readFileSync(file));
let tokens = renew();
const server = https.createServer({ cert, key }, (request, response) => {
  response.setHeader("content-type", "application/jwk-set+json");
  response.end(JSON.stringify({ keys }));
});
server.listen(0, "127.0.0.1", () => {
  const url = `https://127.0.0.1:${server.address().port}/.well-known/jwks.json`;
  console.log(JSON.stringify({ url, tokens }));
});
const lines = readline.createInterface({ input: process.stdin });
lines.on("line", () => console.log(JSON.stringify({ tokens: renew() })));
lines.on("close", () => process.exit());
