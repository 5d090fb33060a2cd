// The test that has started this program: it signs tokens and cuts connections.
const { DESK } = process.env;

async function ask(what) {
  const response = await fetch(`${DESK}/${what}`, { method: "POST" });
  if (!response.ok) throw new Error(`${what}: ${response.status} ${await response.text()}`);
  return response.text();
}

/** Lose every connection to the API. */
export const cut = () => ask("cut");

/** Whether the server counts no more than `held` connections of this user's. */
export const released = async (held) => (await ask(`released?held=${held}`)) === "true";

/** Tokens as a page has them: one until it has expired, then a new one. */
export class Tokens {
  signed = 0;
  #token;
  #expires = 0;
  #seconds = 600;

  /** Return a token that is good now. */
  async get() {
    if (this.#expires - 0.5 < Date.now() / 1000) {
      this.#token = await ask(`token?seconds=${this.#seconds}`);
      this.#expires = JSON.parse(atob(this.#token.split(".")[1])).exp;
      this.#seconds = 600;
      this.signed += 1;
    }
    return this.#token;
  }

  /** Have the next one, and no other, be good for some seconds only. */
  shorten(seconds) {
    this.#expires = 0;
    this.#seconds = seconds;
  }
}
