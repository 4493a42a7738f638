// A real provider of OpenID Connect for the tests, on a port of its own: one argument, where it sends browsers back to.
// It prints `ready ISSUER CONTROL`. Whoever logs in is whom they say: `ada.lab-b.researchers` is ada@example.org, of lab-b, with
// the role researchers. At CONTROL it does what no provider would: makes tokens that say anything, changes its keys, goes away.
import http from "node:http";
import { SignJWT, base64url, exportJWK, generateKeyPair } from "jose";
import { Provider } from "oidc-provider";

const back = process.argv[2];
const asked = {};
let away = false, number = 0, provider, signs;
const foreign = await generateKeyPair("ES256");

const outside = http.createServer((request, response) => {
  if (away) return request.socket.destroy();
  const path = new URL(request.url, "http://h").pathname;
  asked[path] = (asked[path] ?? 0) + 1;
  provider.callback()(request, response);
});
const issuer = `http://127.0.0.1:${await listen(outside)}`;
await newKey();

const control = http.createServer(async (request, response) => {
  let body = "";
  for await (const piece of request) body += piece;
  const told = body ? JSON.parse(body) : {};
  const answer = await { "/token": token, "/new-key": newKey, "/away": goAway, "/asked": () => asked }[request.url](told);
  response.setHeader("content-type", "application/json");
  const text = JSON.stringify(answer ?? null);
  response.setHeader("content-length", Buffer.byteLength(text));
  response.end(text);
});
console.log(`ready ${issuer} http://127.0.0.1:${await listen(control)}`);
// It ends with whoever started it.
process.stdin.resume().on("end", () => process.exit());

function listen(server) {
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server.address().port)));
}

/// Signs with another key from now on, and publishes no other.
async function newKey() {
  const { privateKey } = await generateKeyPair("ES256", { extractable: true });
  const kid = `key-${++number}`;
  signs = { kid, privateKey };
  provider = new Provider(issuer, {
    jwks: { keys: [{ ...(await exportJWK(privateKey)), kid, alg: "ES256", use: "sig" }] },
    cookies: { keys: ["of the tests"] },
    clients: [
      { client_id: "vitrine", client_secret: "secret words", redirect_uris: [back], id_token_signed_response_alg: "ES256" },
      {
        client_id: "vitrine-cli", token_endpoint_auth_method: "none", application_type: "native", redirect_uris: [],
        response_types: [], grant_types: ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
        id_token_signed_response_alg: "ES256",
      },
    ],
    scopes: ["openid", "profile", "email", "offline_access"],
    claims: { openid: ["sub", "tenant", "roles"], email: ["email", "email_verified"], profile: ["name"] },
    conformIdTokenClaims: false,
    enabledJWA: { idTokenSigningAlgValues: ["ES256"] },
    features: {
      deviceFlow: { enabled: true },
      devInteractions: { enabled: true },
      // An access token for a server that is named is a JWT with the same claims.
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => ({ scope: "", audience: resource, accessTokenFormat: "jwt", jwt: { sign: { alg: "ES256" } } }),
      },
    },
    extraTokenClaims: (_, token) => said(token.accountId),
    findAccount: (_, accountId) => ({ accountId, claims: () => said(accountId) }),
    issueRefreshToken: async (_, client) => client.grantTypeAllowed("refresh_token"),
    rotateRefreshToken: true,
    // So short that whoever uses one a second time has to ask for the next.
    ttl: { IdToken: 25, AccessToken: 25, DeviceCode: 600, Interaction: 600, Session: 600, Grant: 3600, RefreshToken: 3600 },
  });
  return { kid };
}

/// What this provider says of somebody.
function said(accountId) {
  const [name, tenant, ...roles] = accountId.split(".");
  return { sub: accountId, email: `${name}@example.org`, email_verified: true, tenant, roles };
}

/// Makes a token: of whom, with which claims beside or instead, signed how.
function token({ login = "ada.lab-b.researchers", claims = {}, head = {}, sign = "own" }) {
  const now = Math.floor(Date.now() / 1000);
  const all = { ...said(login), iss: issuer, aud: "vitrine", iat: now, exp: now + 3600, ...claims };
  if (sign === "none") {
    const part = (value) => base64url.encode(JSON.stringify(value));
    return `${part({ alg: "none", ...head })}.${part(all)}.`;
  }
  if (sign === "secret") {
    return new SignJWT(all).setProtectedHeader({ alg: "HS256", kid: signs.kid, ...head }).sign(new TextEncoder().encode("secret words of 32 bytes and more"));
  }
  const key = sign === "foreign" ? foreign.privateKey : signs.privateKey;
  return new SignJWT(all).setProtectedHeader({ alg: "ES256", kid: signs.kid, ...head }).sign(key);
}

function goAway(told) {
  away = told.away;
  if (away) outside.closeAllConnections();
}
