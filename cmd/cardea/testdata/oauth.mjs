// Drives openid-client and oauth4webapi for the tests: node oauth.mjs FOLDER-OF-MODULES OPTIONS. Each of the two finds the server by its
// issuer, asks for a token in the way of the client, has it introspected, revokes it and has it introspected again. It says what
// came of it, one JSON object a line.
//
// Options: issuer; library; client {id, auth, secret, jwk}; other {id, secret}, who introspects and revokes if the client cannot; dpop; resource; subject,
// a token to exchange; tls {ca, cert, key}, PEM.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import https from 'node:https'

const modules = createRequire(process.argv[2] + '/')
const load = (name) => import(pathToFileURL(modules.resolve(name)).href)
const o = JSON.parse(process.argv[3])
const say = (more) => console.log(JSON.stringify(more))

// Node's fetch shows no client certificates.
const fetcher = !o.tls ? fetch : (url, init) => new Promise((resolve, reject) => {
  const body = init.body === undefined || init.body === null ? undefined : String(init.body)
  const headers = Object.fromEntries(new Headers(init.headers).entries())
  if (body !== undefined) headers['content-length'] = Buffer.byteLength(body)
  const r = https.request(url, { method: init.method ?? 'GET', headers, ...o.tls }, (answer) => {
    const parts = []
    answer.on('data', (p) => parts.push(p))
    answer.on('end', () => {
      const h = new Headers()
      for (const [name, value] of Object.entries(answer.headers)) h.set(name, value)
      const bytes = Buffer.concat(parts)
      resolve(new Response(bytes.length ? bytes : null, { status: answer.statusCode, headers: h }))
    })
  })
  r.on('error', reject)
  r.end(body)
})

const ec = { name: 'ECDSA', namedCurve: 'P-256' }
const privateKey = o.client.jwk && await crypto.subtle.importKey('jwk', o.client.jwk, ec, false, ['sign'])

async function openid() {
  const lib = await load('openid-client')
  const auth = {
    client_secret_basic: () => lib.ClientSecretBasic(o.client.secret),
    client_secret_post: () => lib.ClientSecretPost(o.client.secret),
    private_key_jwt: () => lib.PrivateKeyJwt(privateKey),
    tls: () => lib.TlsClientAuth(),
  }[o.client.auth]()
  const find = async (id, how) => {
    const config = await lib.discovery(new URL(o.issuer), id, undefined, how,
      { algorithm: 'oauth2', [lib.customFetch]: fetcher, execute: o.tls ? [] : [lib.allowInsecureRequests] })
    return config
  }
  const config = await find(o.client.id, auth)
  const DPoP = o.dpop ? lib.getDPoPHandle(config, await lib.randomDPoPKeyPair('ES256')) : undefined
  const parameters = o.resource ? { resource: o.resource } : {}
  const got = o.subject
    ? await lib.genericGrantRequest(config, 'urn:ietf:params:oauth:grant-type:token-exchange',
      { ...parameters, subject_token: o.subject, subject_token_type: 'urn:ietf:params:oauth:token-type:access_token' }, { DPoP })
    : await lib.clientCredentialsGrant(config, parameters, { DPoP })
  say({ event: 'token', token: got.access_token, type: got.token_type, scope: got.scope, expires: got.expires_in })
  const by = o.other ? await find(o.other.id, lib.ClientSecretBasic(o.other.secret)) : config
  say({ event: 'introspection', ...await lib.tokenIntrospection(by, got.access_token) })
  await lib.tokenRevocation(by, got.access_token)
  say({ event: 'revoked', ...await lib.tokenIntrospection(by, got.access_token) })
}

async function webapi() {
  const lib = await load('oauth4webapi')
  const options = { [lib.customFetch]: fetcher, [lib.allowInsecureRequests]: !o.tls }
  const issuer = new URL(o.issuer)
  const as = await lib.processDiscoveryResponse(issuer, await lib.discoveryRequest(issuer, { algorithm: 'oauth2', ...options }))
  const client = { client_id: o.client.id }
  const auth = {
    client_secret_basic: () => lib.ClientSecretBasic(o.client.secret),
    client_secret_post: () => lib.ClientSecretPost(o.client.secret),
    private_key_jwt: () => lib.PrivateKeyJwt(privateKey),
    tls: () => lib.TlsClientAuth(),
  }[o.client.auth]()
  const DPoP = o.dpop ? lib.DPoP(client, await lib.generateKeyPair('ES256')) : undefined
  const parameters = new URLSearchParams(o.resource ? { resource: o.resource } : {})
  const ask = async () => {
    if (!o.subject) {
      const r = await lib.clientCredentialsGrantRequest(as, client, auth, parameters, { DPoP, ...options })
      return await lib.processClientCredentialsResponse(as, client, r)
    }
    parameters.set('subject_token', o.subject)
    parameters.set('subject_token_type', 'urn:ietf:params:oauth:token-type:access_token')
    const r = await lib.genericTokenEndpointRequest(as, client, auth, 'urn:ietf:params:oauth:grant-type:token-exchange', parameters, { DPoP, ...options })
    return await lib.processGenericTokenEndpointResponse(as, client, r)
  }
  let got
  try {
    got = await ask()
  } catch (e) {
    if (!lib.isDPoPNonceError(e)) throw e
    say({ event: 'nonce' })
    got = await ask()
  }
  say({ event: 'token', token: got.access_token, type: got.token_type, scope: got.scope, expires: got.expires_in })
  // as a resource server does, by the published keys
  if (!o.dpop && !o.tls) {
    const request = new Request('https://service.example/x', { headers: { authorization: 'Bearer ' + got.access_token } })
    const claims = await lib.validateJwtAccessToken(as, request, o.resource ?? o.issuer, options)
    say({ event: 'claims', sub: claims.sub, scope: claims.scope })
  }
  const who = o.other ? { client_id: o.other.id } : client
  const how = o.other ? lib.ClientSecretBasic(o.other.secret) : auth
  const look = async () => await lib.processIntrospectionResponse(as, who, await lib.introspectionRequest(as, who, how, got.access_token, options))
  say({ event: 'introspection', ...await look() })
  await lib.processRevocationResponse(await lib.revocationRequest(as, who, how, got.access_token, options))
  say({ event: 'revoked', ...await look() })
}

try {
  await (o.library === 'openid-client' ? openid() : webapi())
} catch (e) {
  say({ event: 'error', code: e.code, text: String(e), cause: e.cause && JSON.stringify(e.cause.cause ?? e.cause), error: e.error, description: e.error_description })
  process.exitCode = 1
}
