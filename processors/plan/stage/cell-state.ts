// Cell state: what the planner stores of its cell, as typed repositories over the rows of the stage. Only this file
// knows the keys of rows, and the lists of ids in the cell's own row.
//
//   B1. Every kind has its own name before the id, as in every release: `shard/shard-0001`, `series/c/0/00`.
//   B2. Ids of what is open, awaited or known are lists in the cell's row: nobody has to read all rows to find them.
//   B3. Rows are mutable, and are set again after each change, which stores them.

import type { MoveId, PlanId, ShardId } from '../../../schemas/ids.ts';
import type { Rows } from '../../step.ts';
import type { BrokerRow, CellRow, MoveRow, PlanRows, ProposalRow, Row, ShardRow } from './rows.ts';

type Kind = Exclude<Row['kind'], 'cell'>;
type RowOf<K extends Kind> = Extract<Row, { kind: K }>;

const CELL = 'cell';
const keyOf = (kind: Kind, id: string): string => `${kind}/${id}`; // B1

const partId = (checkId: string, partition: number): string => `${checkId}/${partition}`;

/** For rows of these kinds: the field that contains the id. */
const ID_OF = {
  shard: ({ id }: RowOf<'shard'>): string => id,
  slice: ({ slice }: RowOf<'slice'>): string => slice,
  move: ({ id }: RowOf<'move'>): string => id,
  change: ({ id }: RowOf<'change'>): string => id,
  promise: ({ shard }: RowOf<'promise'>): string => shard,
  proposal: ({ id }: RowOf<'proposal'>): string => id,
  gone: ({ key }: RowOf<'gone'>): string => key,
  check: ({ id }: RowOf<'check'>): string => id,
  checkPart: ({ checkId, partition }: RowOf<'checkPart'>): string => partId(checkId, partition),
};
type Named = keyof typeof ID_OF;

/** A refusal of one constraint about one subject. */
export const saidId = (subject: string, constraint: string): string => `${constraint}/${subject}`;

export const cellOf = (rows: Pick<PlanRows, 'get'>): CellRow | undefined => {
  const row = rows.get(CELL);
  return row?.kind === 'cell' ? row : undefined;
};

/** Read access to the rows of one kind. */
export class RowReader<K extends Kind> {
  readonly kind: K;
  readonly #rows: PlanRows;

  constructor(rows: PlanRows, kind: K) {
    this.#rows = rows;
    this.kind = kind;
  }

  /** The row; `undefined` when there is none of this kind. */
  get(id: string): RowOf<K> | undefined {
    const row = this.#rows.get(keyOf(this.kind, id));
    return row?.kind === this.kind ? (row as RowOf<K>) : undefined;
  }

  has(id: string): boolean {
    return this.get(id) !== undefined;
  }

  /** Reads the rows of every kind: a caller that needs several kinds uses `CellState.each`. */
  *all(): Generator<RowOf<K>> {
    for (const [, row] of this.#rows.entries()) if (row.kind === this.kind) yield row as RowOf<K>;
  }
}

/** Rows of a kind whose ids are not in the rows. */
export class Repository<K extends Kind> extends RowReader<K> {
  readonly #rows: Rows<Row>;

  constructor(rows: Rows<Row>, kind: K) {
    super(rows, kind);
    this.#rows = rows;
  }

  /** Stores the row (B3). */
  set(id: string, row: RowOf<K>): void {
    this.#rows.set(keyOf(this.kind, id), row);
  }

  delete(id: string): void {
    this.#rows.delete(keyOf(this.kind, id));
  }
}

/** Rows of a kind that contain their ids. */
export class NamedRepository<K extends Named> extends Repository<K> {
  /** Stores the row (B3). */
  put(row: RowOf<K>): void {
    this.set((ID_OF[this.kind] as (row: RowOf<K>) => string)(row), row);
  }
}

export class Shards extends NamedRepository<'shard'> {
  readonly #cell: CellRow;

  constructor(rows: Rows<Row>, cell: CellRow) {
    super(rows, 'shard');
    this.#cell = cell;
  }

  /**
   * Shards that were requested, or requested with another type, and have not answered. One may answer during the
   * iteration.
   */
  *awaited(): Generator<ShardRow> {
    for (const id of [...this.#cell.openShards]) yield this.get(id)!;
  }

  /** Shards that have lost their data. One may be found again during the iteration. */
  *lost(): Generator<ShardRow & { lost: string }> {
    for (const id of [...(this.#cell.lostShards ?? [])]) {
      const row = this.get(id);
      if (row?.lost !== undefined) yield row as ShardRow & { lost: string };
    }
  }

  /** `lose` and `found` change the cell's row: call `keepCell` afterwards. */
  lose(id: ShardId): void {
    this.#cell.lostShards = [...(this.#cell.lostShards ?? []).filter((other) => other !== id), id];
  }

  found(id: ShardId): void {
    this.#cell.lostShards = (this.#cell.lostShards ?? []).filter((other) => other !== id);
  }

  isAwaited(id: ShardId): boolean {
    return this.#cell.openShards.includes(id);
  }

  /** This and the next method change the cell's row: call `keepCell` afterwards. */
  awaitAnswer(id: ShardId): void {
    this.#cell.openShards.push(id);
  }

  answered(id: ShardId): void {
    this.#cell.openShards = this.#cell.openShards.filter((other) => other !== id);
  }
}

const CLOSED_MOVES_KEPT = 200;

export class Moves extends NamedRepository<'move'> {
  readonly #cell: CellRow;

  constructor(rows: Rows<Row>, cell: CellRow) {
    super(rows, 'move');
    this.#cell = cell;
  }

  /** In the order in which they began. One may close during the iteration. */
  *open(): Generator<MoveRow> {
    for (const id of [...this.#cell.openMoves]) yield this.get(id)!;
  }

  /** The last moves that have ended, in that order. */
  *closed(): Generator<MoveRow> {
    for (const id of this.#cell.closedMoves) {
      const move = this.get(id);
      if (move !== undefined) yield move;
    }
  }

  /** This and the next method change the cell's row: call `keepCell` afterwards. */
  begin(move: MoveRow): void {
    this.#cell.openMoves.push(move.id);
    this.put(move);
  }

  /** A closed move can still be looked up for a while. */
  close(closed: MoveId): void {
    const cell = this.#cell;
    cell.openMoves = cell.openMoves.filter((id) => id !== closed);
    cell.closedMoves.push(closed);
    while (cell.closedMoves.length > CLOSED_MOVES_KEPT) this.delete(cell.closedMoves.shift()!);
  }
}

export class Brokers extends Repository<'broker'> {
  readonly #cell: CellRow;

  constructor(rows: Rows<Row>, cell: CellRow) {
    super(rows, 'broker');
    this.#cell = cell;
  }

  get count(): number {
    return this.#cell.brokers.length;
  }

  /** In the order in which they were first met. One may be forgotten during the iteration. */
  *known(): Generator<readonly [name: string, broker: BrokerRow]> {
    for (const name of this.#cell.brokers) yield [name, this.get(name)!];
  }

  /** This and the next method change the cell's row: call `keepCell` afterwards. */
  meet(name: string): void {
    this.#cell.brokers.push(name);
  }

  forget(name: string): void {
    this.delete(name);
    this.#cell.brokers = this.#cell.brokers.filter((other) => other !== name);
  }
}

/** Answered and expired proposals that can still be looked at. */
const PROPOSALS_KEPT = 20;

export class Proposals extends NamedRepository<'proposal'> {
  readonly #cell: CellRow;

  constructor(rows: Rows<Row>, cell: CellRow) {
    super(rows, 'proposal');
    this.#cell = cell;
  }

  /** Proposals that can still be looked up, oldest first. */
  *kept(): Generator<ProposalRow> {
    for (const id of this.#cell.proposals ?? []) {
      const row = this.get(id);
      if (row !== undefined) yield row;
    }
  }

  get newest(): ProposalRow | undefined {
    return this.get(this.#cell.proposals?.at(-1) ?? '');
  }

  /** Changes the cell's row: call `keepCell` afterwards. */
  add(row: ProposalRow): void {
    this.put(row);
    const kept: PlanId[] = [...(this.#cell.proposals ?? []), row.id];
    while (kept.length > PROPOSALS_KEPT) this.delete(kept.shift()!);
    this.#cell.proposals = kept;
  }
}

const CHECKS_KEPT = 16;

export class Checks extends NamedRepository<'check'> {
  readonly #cell: CellRow;
  readonly #parts: NamedRepository<'checkPart'>;

  constructor(rows: Rows<Row>, cell: CellRow, parts: NamedRepository<'checkPart'>) {
    super(rows, 'check');
    this.#cell = cell;
    this.#parts = parts;
  }

  /** Changes the cell's row: call `keepCell` afterwards. */
  add(row: RowOf<'check'>): void {
    this.put(row);
    const kept = [...(this.#cell.checks ?? []), row.id];
    while (kept.length > CHECKS_KEPT) this.#forget(kept.shift()!);
    this.#cell.checks = kept;
  }

  #forget(id: string): void {
    for (const partition of this.get(id)?.partitions ?? []) this.#parts.delete(partId(id, partition));
    this.delete(id);
  }
}

/** What to do with each row of some kinds. */
export type Visit = { readonly [K in Kind]?: (row: RowOf<K>, id: string) => void };

export class CellState {
  readonly cell: CellRow;
  readonly shards: Shards;
  readonly slices: NamedRepository<'slice'>;
  readonly moves: Moves;
  /** Splits and merges that apply was asked to carry out. */
  readonly changes: NamedRepository<'change'>;
  readonly brokers: Brokers;
  readonly series: Repository<'series'>;
  readonly surges: Repository<'surge'>;
  readonly promises: NamedRepository<'promise'>;
  readonly proposals: Proposals;
  /** Refusals, by `saidId`. */
  readonly said: Repository<'said'>;
  /** Keys of the pointer table. */
  readonly gone: NamedRepository<'gone'>;
  readonly checks: Checks;
  /** What partitions have reported of them. */
  readonly checkParts: NamedRepository<'checkPart'>;
  /** Whether the planner has written a record since the rows were loaded (turn.ts U3). */
  hasSpoken = false;
  /** When lost shards were last checked, by wall time; not stored. */
  rebuildsSeenAt = 0;
  readonly #rows: Rows<Row>;

  constructor(rows: Rows<Row>, cell: CellRow) {
    this.#rows = rows;
    this.cell = cell;
    this.shards = new Shards(rows, cell);
    this.slices = new NamedRepository(rows, 'slice');
    this.moves = new Moves(rows, cell);
    this.changes = new NamedRepository(rows, 'change');
    this.brokers = new Brokers(rows, cell);
    this.series = new Repository(rows, 'series');
    this.surges = new Repository(rows, 'surge');
    this.promises = new NamedRepository(rows, 'promise');
    this.proposals = new Proposals(rows, cell);
    this.said = new Repository(rows, 'said');
    this.gone = new NamedRepository(rows, 'gone');
    this.checkParts = new NamedRepository(rows, 'checkPart');
    this.checks = new Checks(rows, cell, this.checkParts);
  }

  /** Stores the cell's own row; to be called after any change of it. */
  keepCell(): void {
    this.#rows.set(CELL, this.cell);
  }

  /**
   * Reads all rows once, where a repository for each kind would read them once each. Rows must not be deleted
   * meanwhile.
   */
  each(visit: Visit): void {
    for (const [key, row] of this.#rows.entries()) {
      if (row.kind === 'cell') continue;
      const take = visit[row.kind] as ((row: Row, id: string) => void) | undefined;
      take?.(row, key.slice(row.kind.length + 1));
    }
  }
}

/** Read-only access to the rows, for code outside the stage. */
export type CellReader = ReturnType<typeof readerOf>;
export const readerOf = (rows: PlanRows) => ({
  cell: cellOf(rows),
  shards: new RowReader(rows, 'shard'),
  slices: new RowReader(rows, 'slice'),
  moves: new RowReader(rows, 'move'),
  brokers: new RowReader(rows, 'broker'),
  series: new RowReader(rows, 'series'),
  surges: new RowReader(rows, 'surge'),
  proposals: new RowReader(rows, 'proposal'),
  checks: new RowReader(rows, 'check'),
  checkParts: new RowReader(rows, 'checkPart'),
});
