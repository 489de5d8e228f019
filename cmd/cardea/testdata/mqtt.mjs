// Drives MQTT.js for the tests: node mqtt.mjs FOLDER-OF-MODULES OPTIONS. It says what happens, one JSON object a line. With
// "topic" it subscribes, publishes a message of each QoS to itself and leaves when all are back; with "stay" it does not leave.
import { createRequire } from 'node:module'

const mqtt = createRequire(process.argv[2] + '/')('mqtt')
const { url, topic, stay, ...options } = JSON.parse(process.argv[3])
const say = (event, more = {}) => console.log(JSON.stringify({ event, ...more }))

const client = mqtt.connect(url, { reconnectPeriod: 0, connectTimeout: 20_000, ...options })
const seen = new Set()

client.on('error', (e) => say('error', { code: e.code, text: e.message }))
client.on('disconnect', (packet) => say('disconnect', { code: packet.reasonCode }))
client.on('close', () => { say('close'); process.exit(0) })
client.on('message', (_, payload, packet) => {
  say('message', { payload: payload.toString(), qos: packet.qos })
  seen.add(packet.qos)
  if (seen.size === 3 && !stay) client.end()
})
client.on('connect', async (connack) => {
  say('connect', { assigned: connack.properties?.assignedClientIdentifier })
  if (!topic) return
  try {
    const granted = await client.subscribeAsync(topic, { qos: 2 })
    say('subscribe', { codes: granted.map((g) => g.qos) })
    for (const qos of [0, 1, 2]) await client.publishAsync(topic, 'from MQTT.js', { qos })
  } catch (e) {
    say('refused', { code: e.code, text: e.message })
    if (!stay) client.end()
  }
})
