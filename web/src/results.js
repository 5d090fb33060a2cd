/** Characters of results that are kept in sight; more would make each redrawing slow. */
const KEPT = 200_000;

/** The results of one subscription, the newest last, redrawn once a frame at most. */
export class Results {
  #observer;
  #kept = [];
  #characters = 0;
  #omitted = 0;
  #frame = null;

  constructor(observer) {
    this.#observer = observer;
  }

  add(result) {
    const { length } = JSON.stringify(result);
    this.#kept.push({ result, length });
    this.#characters += length;
    while (this.#characters > KEPT && this.#kept.length > 1) {
      this.#characters -= this.#kept.shift().length;
      this.#omitted += 1;
    }
    this.#frame ??= requestAnimationFrame(() => this.#draw());
  }

  end(failed) {
    if (failed && this.#kept.length === 0) this.#observer.next(failed);
    else if (failed) this.add(failed);
    this.drop();
    if (this.#kept.length > 0) this.#draw();
    this.#observer.complete();
  }

  /** Draw nothing any more. */
  drop() {
    cancelAnimationFrame(this.#frame);
  }

  #draw() {
    this.#frame = null;
    const results = this.#kept.map(({ result }) => result);
    this.#observer.next(this.#omitted > 0 ? { omitted: this.#omitted, results } : { results });
  }
}
