// A client of SCRAM (RFC 5802) on Node's crypto, for MQTT.js, which has none. It binds to no channel, and wants names and
// passwords that SASLprep leaves as they are.
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto'

const hashes = { 'SCRAM-SHA-256': ['sha256', 32], 'SCRAM-SHA-512': ['sha512', 64] }

export class Scram {
  constructor (method, username, password) {
    [this.hash, this.size] = hashes[method]
    this.password = password
    this.bare = `n=${username.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${randomBytes(18).toString('base64')}`
  }

  first () { return Buffer.from('n,,' + this.bare) }

  // final answers the server's first message.
  final (serverFirst) {
    const [, nonce, salt, iterations] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(serverFirst.toString())
    if (!nonce.startsWith(this.bare.split(',r=')[1])) throw new Error('the server has changed the nonce')
    const salted = pbkdf2Sync(this.password, Buffer.from(salt, 'base64'), Number(iterations), this.size, this.hash)
    const unproven = 'c=biws,r=' + nonce
    const said = `${this.bare},${serverFirst},${unproven}`
    const clientKey = this.#mac(salted, 'Client Key')
    const signature = this.#mac(createHash(this.hash).update(clientKey).digest(), said)
    this.want = Buffer.from('v=' + this.#mac(this.#mac(salted, 'Server Key'), said).toString('base64'))
    return Buffer.from(`${unproven},p=${Buffer.from(clientKey.map((b, i) => b ^ signature[i])).toString('base64')}`)
  }

  // verify reports whether the server's last message proves that it knows the keys.
  verify (serverFinal) {
    return serverFinal?.length === this.want?.length && timingSafeEqual(serverFinal, this.want)
  }

  #mac (key, text) { return createHmac(this.hash, key).update(text).digest() }
}
