// Drives MQTT.js for the tests: node mqtt.mjs FOLDER-OF-MODULES OPTIONS. It says what happens, one JSON object a line. With
// "topic" it subscribes, publishes a message of each QoS to itself and leaves when all are back; with "stay" it does not leave.
// With "scram" {method, username, password} it connects by that; with "again" {username, password} it proves itself by that once
// more, and sends its messages meanwhile. With "bearer" {token, again} it connects by OAUTH2-JWT, and renews by the other token likewise.
import { createRequire } from 'node:module'
import { once } from 'node:events'
import { Scram } from './scram.mjs'

const mqtt = createRequire(process.argv[2] + '/')('mqtt')
const { url, topic, stay, scram, again, bearer, ...options } = JSON.parse(process.argv[3])
const say = (event, more = {}) => console.log(JSON.stringify({ event, ...more }))

const method = bearer ? 'OAUTH2-JWT' : scram?.method

let proof, renewed
if (scram) {
  proof = new Scram(scram.method, scram.username, scram.password)
  options.properties = { authenticationMethod: scram.method, authenticationData: proof.first() }
}
if (bearer) options.properties = { authenticationMethod: method, authenticationData: Buffer.from(bearer.token) }
const client = mqtt.connect(url, { reconnectPeriod: 0, connectTimeout: 20_000, ...options })
const seen = new Set()

// auth sends an AUTH of the session's method.
const auth = (reasonCode, authenticationData) =>
  ({ cmd: 'auth', reasonCode, properties: { authenticationMethod: method, authenticationData } })

client.handleAuth = (packet, done) => {
  const data = packet.properties.authenticationData
  try {
    if (packet.reasonCode === 0x18) return done(null, auth(0x18, proof.final(data)))
    say('again', { text: bearer || proof.verify(data) ? '' : 'the server does not prove itself' })
    renewed()
    done()
  } catch (e) { done(e) }
}

// renew begins a re-authentication and waits until it is over. MQTT.js has no method for it.
const renew = () => new Promise((resolve) => {
  renewed = resolve
  if (bearer) return client._sendPacket(auth(0x19, Buffer.from(bearer.again)))
  proof = new Scram(scram.method, again.username, again.password)
  client._sendPacket(auth(0x19, proof.first()))
})

client.on('error', (e) => say('error', { code: e.code, text: e.message }))
client.on('disconnect', (packet) => say('disconnect', { code: packet.reasonCode }))
client.on('close', () => { say('close'); process.exit(0) })
client.on('message', (_, payload, packet) => {
  say('message', { payload: payload.toString(), qos: packet.qos })
  seen.add(packet.qos)
  client.emit('seen')
})
client.on('connect', async (connack) => {
  const text = scram && !proof.verify(connack.properties?.authenticationData) ? 'the server does not prove itself' : ''
  say('connect', { assigned: connack.properties?.assignedClientIdentifier, text })
  try {
    const tasks = []
    if (again || bearer) tasks.push(renew())
    if (topic) {
      const granted = await client.subscribeAsync(topic, { qos: 2 })
      say('subscribe', { codes: granted.map((g) => g.qos) })
      for (const qos of [0, 1, 2]) await client.publishAsync(topic, 'from MQTT.js', { qos })
      while (seen.size < 3) await once(client, 'seen')
    }
    await Promise.all(tasks)
    if ((topic || again) && !stay) client.end()
  } catch (e) {
    say('refused', { code: e.code, text: e.message })
    if (!stay) client.end()
  }
})
