// Watermark: how far event time has come, by what is told of it. The one rule of event time; whoever keeps one (the lanes of
// the rates stage, the forecast stage, the planner's cell, the runner) differs in its numbers alone.
//
//   W1. It grows with what is told. What is told of a time within `nearMs` of it is believed at once.
//   W2. What is told of a time farther away, ahead or behind, is doubted: it moves nothing until it is borne out, and what is
//       near lays the doubt to rest. It is borne out by so many in a row that agree with each other; or by patience: nothing
//       nearer has been told since, for so long by the host's clock.
//   W3. Nobody stays led away: whatever was told before, what is borne out is believed, and then it goes back as well.
//   W4. Before `votesMin` have spoken for it, the watermark is a candidate that others outvote (Boyer and Moore's majority
//       vote), so that a wild first word does not make every later one late.
//
// So many in a row is for one stream of single events: a sender with a wrong clock is one among many. Where many sources are
// merged, a batch of one source is hundreds in a row, and says no more than its first: there patience decides.
//
// Hot path: one for each input of each partition, told of every event. No allocation.

export interface WatermarkRule {
  readonly nearMs: number;
  readonly votesMin: number;
  /** So many in a row, all farther ahead than `nearMs`, are believed. Infinity: however many, none. */
  readonly aheadInRow: number;
  readonly behindInRow: number;
  /** Infinity: none. */
  readonly patienceMs: number;
  /** It moves no less than this; whoever stores each step of it wants few. */
  readonly stepMs: number;
}

/** Nothing that is right is told farther from event time than this, unless its source has been away. */
const NEAR_MS = 3_600_000;

/** Of one stream of single events, which are believed when so many in a row agree. */
export const singleEvents = (inRow: number): WatermarkRule => ({
  nearMs: NEAR_MS,
  votesMin: inRow,
  aheadInRow: inRow,
  // Going back costs what is told twice, being stuck in a wrong future costs every event: it takes more agreement, no more.
  behindInRow: inRow * 10,
  patienceMs: Number.POSITIVE_INFINITY,
  stepMs: 1,
});

/** Of many sources merged: none of them leads the others away, however much it has to tell. */
export const MERGED_SOURCES: WatermarkRule = {
  nearMs: NEAR_MS,
  votesMin: 1,
  aheadInRow: Number.POSITIVE_INFINITY,
  behindInRow: Number.POSITIVE_INFINITY,
  patienceMs: 60_000,
  stepMs: 1,
};

/**
 * `near`: believed; `ahead`: believed, being borne out; `restarted`: believed in place of what was believed before, which
 * may have been later; `doubted`: not believed, nor is there a time to put in its place but the watermark's; `late`: not
 * believed, and behind.
 */
export type Verdict = 'near' | 'ahead' | 'restarted' | 'doubted' | 'late';

export class Watermark {
  /** -1 before anything was told. */
  time = -1;
  votes = 0;
  /** How many in a row disagree with the time but agree with each other; negative for those behind. */
  dissent = 0;
  /** The last of them. */
  dissentTime = 0;
  /** The host's time since when the doubt stands; 0 until the next `watch`. */
  dissentSince = 0;

  /** `expected`: where the time would be by now; by default where it is. */
  hear(time: number, rule: WatermarkRule, expected = this.time): Verdict {
    const ahead = time - expected;
    if (this.time < 0) return this.#restart(time);
    if (ahead > rule.nearMs || ahead < -rule.nearMs) return this.#doubt(time, ahead, rule);
    if (this.votes < rule.votesMin) this.votes++;
    this.dissent = 0;
    if (time - this.time >= rule.stepMs) this.time = time;
    return 'near';
  }

  /** Whether a time that is not told of, but only supposed to have come, may be taken for true. */
  reaches(time: number, { nearMs }: WatermarkRule): boolean {
    return time <= this.time + nearMs;
  }

  /** Looks at the host's clock, now and again: what is doubted is believed once patience is over. True when it is. */
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
