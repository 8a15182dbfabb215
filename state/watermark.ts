// Watermark: how far event time has come, judged by the event times reported to it. This is the only rule of event
// time; its users (the lanes of the rates stage, the forecast stage, the planner's cell, the runner) differ only in its
// numbers.
//
//   W1. It advances with the times reported. A reported time within `nearMs` of it is believed at once.
//   W2. A reported time farther away, ahead or behind, is doubted: it moves nothing until it is confirmed, and a near
//       time ends the doubt. It is confirmed either by a stated number of far times in a row that agree with each
//       other, or by patience: no nearer time has been reported since, for a stated time of the host's clock.
//   W3. No error is permanent: whatever was believed before, what is confirmed is believed, and then the watermark goes
//       back as well.
//   W4. Until `votesMin` reports have supported it, the watermark is a candidate that others can outvote (Boyer and
//       Moore's majority vote), so that a wrong first report does not make every later one late.
//
// A number in a row is a good rule for one stream of single events: a sender with a wrong clock is one among many.
// Where many sources are merged, a batch of one source is hundreds in a row and proves no more than its first: there
// patience decides.
//
// Hot path: one for each input of each partition, called for every event. No allocation.

export interface WatermarkRule {
  readonly nearMs: number;
  readonly votesMin: number;
  /** This many reports in a row farther ahead than `nearMs` are believed. Infinity: never. */
  readonly aheadInRow: number;
  readonly behindInRow: number;
  /** How long a doubt must stand until it is believed. Infinity: for ever. */
  readonly patienceMs: number;
  /** It moves by at least this much; a user that stores each movement wants few. */
  readonly stepMs: number;
}

/** A correct time is not farther from event time than this, unless its source has been away. */
const NEAR_MS = 3_600_000;

/** The rule for one stream of single events: a stated number in a row that agree is believed. */
export const singleEvents = (inRow: number): WatermarkRule => ({
  nearMs: NEAR_MS,
  votesMin: inRow,
  aheadInRow: inRow,
  // Going back costs repeated work, being stuck in a wrong future costs every event: so going back takes more
  // agreement, but is possible.
  behindInRow: inRow * 10,
  patienceMs: Number.POSITIVE_INFINITY,
  stepMs: 1,
});

/** The rule for many merged sources: none of them can lead the others astray, however many events it has. */
export const MERGED_SOURCES: WatermarkRule = {
  nearMs: NEAR_MS,
  votesMin: 1,
  aheadInRow: Number.POSITIVE_INFINITY,
  behindInRow: Number.POSITIVE_INFINITY,
  patienceMs: 60_000,
  stepMs: 1,
};

/**
 * `near`: believed. `ahead`: believed, after confirmation. `restarted`: believed in place of the former time, which may
 * have been later. `doubted`: not believed; the watermark stays, and no other time is known for the event. `late`: not
 * believed, and behind.
 */
export type Verdict = 'near' | 'ahead' | 'restarted' | 'doubted' | 'late';

export class Watermark {
  /** -1 before the first report. */
  time = -1;
  votes = 0;
  /** How many reports in a row disagree with `time` but agree with each other; negative for those behind. */
  dissent = 0;
  /** The last of these reports. */
  dissentTime = 0;
  /** The host's time at which the doubt began; 0 until the next `watch`. */
  dissentSince = 0;

  /** Judges a reported time. `expected`: what the time should be by now; by default `time`. */
  hear(time: number, rule: WatermarkRule, expected = this.time): Verdict {
    const ahead = time - expected;
    if (this.time < 0) return this.#restart(time);
    if (ahead > rule.nearMs || ahead < -rule.nearMs) return this.#doubt(time, ahead, rule);
    if (this.votes < rule.votesMin) this.votes++;
    this.dissent = 0;
    if (time - this.time >= rule.stepMs) this.time = time;
    return 'near';
  }

  /** Whether a time that was not reported, but is assumed to have come, may be accepted. */
  reaches(time: number, { nearMs }: WatermarkRule): boolean {
    return time <= this.time + nearMs;
  }

  /**
   * Call now and then with the host's time: what is doubted is believed once patience is over. True when that happened.
   */
  watch(wallTime: number, { patienceMs }: WatermarkRule): boolean {
    if (this.dissent === 0 || patienceMs === Number.POSITIVE_INFINITY) return false;
    if (this.dissentSince === 0 || wallTime < this.dissentSince) this.dissentSince = wallTime; // Or the clock was set back.
    if (wallTime - this.dissentSince < patienceMs) return false;
    this.#restart(this.dissentTime);
    return true;
  }

  #doubt(time: number, ahead: number, rule: WatermarkRule): Verdict {
    if (this.votes < rule.votesMin) {
      this.votes--;
      return this.votes > 0 ? 'doubted' : this.#restart(time); // W4
    }
    const direction = ahead > 0 ? 1 : -1;
    const isFirst = this.dissent === 0;
    const agrees = this.dissent * direction > 0 && Math.abs(time - this.dissentTime) <= rule.nearMs;
    this.dissent = agrees ? this.dissent + direction : direction;
    this.dissentTime = time;
    if (isFirst) this.dissentSince = 0;
    if (direction < 0) return -this.dissent < rule.behindInRow ? 'late' : this.#restart(time); // W3
    if (this.dissent < rule.aheadInRow) return 'doubted'; // W2
    this.dissent = 0;
    this.time = time;
    return 'ahead';
  }

  #restart(time: number): Verdict {
    this.time = time;
    this.votes = Math.max(this.votes, 1);
    this.dissent = 0;
    return 'restarted';
  }
}
