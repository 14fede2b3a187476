// Tokens as a login service issues them.
import { createHmac } from "node:crypto";

export const SECRET = "a secret of the tests, of 32 bytes and more";

const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

export function token(claims, secret = SECRET) {
  const exp = Math.floor(Date.now() / 1000) + 600;
  const signed = `${part({ alg: "HS256" })}.${part({ exp, ...claims })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}
