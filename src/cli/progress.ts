import { Presets, SingleBar } from 'cli-progress';

/** Shows progress stage by stage: a bar on a terminal, one line per finished stage elsewhere. */
export class StageProgress {
  #bar: SingleBar | null = null;
  #stage = '';
  #started = 0;

  /** Reports that `done` of `total` of a stage are finished. A new stage ends the one before. */
  update(stage: string, done: number, total: number, note = ''): void {
    if (stage !== this.#stage) {
      this.finish();
      this.#stage = stage;
      this.#started = performance.now();
      if (process.stderr.isTTY) {
        const format = '{stage} {bar} {value}/{total} {note}';
        this.#bar = new SingleBar(
          { format, hideCursor: true, clearOnComplete: true, stream: process.stderr },
          Presets.rect,
        );
        this.#bar.start(total, done, { stage: stage.padEnd(24), note });
      }
    }
    this.#bar?.update(done, { note });
    if (done >= total) this.finish(note);
  }

  /** Ends the current stage, leaving one line that says how long it took. */
  finish(note = ''): void {
    if (this.#stage === '') return;
    this.#bar?.stop();
    this.#bar = null;
    const seconds = ((performance.now() - this.#started) / 1000).toFixed(1);
    console.error(`${this.#stage.padEnd(24)} ${seconds} s${note ? `, ${note}` : ''}`);
    this.#stage = '';
  }
}
