// Fits: the request to a fitting thread and its answer, as plain values that can be sent between threads. A fit is a
// pure function of a history; its answer may come some steps late, or never.

import { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { type Grid, MINUTE_GRID } from './grid.ts';
import { History, type HistoryShape } from './history/history.ts';
import type { Parameters } from './model.ts';
import { MODELS } from './models/models.ts';

export interface FitRequest {
  readonly series: string;
  /** Index in SIGNALS. */
  readonly signal: number;
  /** Names of the models to fit. */
  readonly models: readonly string[];
  readonly shape: HistoryShape;
  readonly history: Uint8Array;
  /** The history's regime: an answer that was fitted to an earlier regime is dropped. */
  readonly regime: number;
}

export interface FitResult {
  readonly series: string;
  readonly signal: number;
  readonly regime: number;
  /** `parameters` is `undefined` when there was nothing to learn, or the fit failed. */
  readonly fits: readonly { readonly model: string; readonly parameters: Parameters | undefined }[];
  /** Why nothing was fitted; '' when nothing failed. */
  readonly failure: string;
}

export function fitRequest(history: History, asked: Pick<FitRequest, 'series' | 'signal' | 'models'>): FitRequest {
  const to = new BinaryWriter(16 * 1024);
  history.write(to);
  return { ...asked, shape: history.shape, history: new Uint8Array(to.bytes()), regime: history.regime };
}

/** Fits the models asked for. Never throws: a failure is in the result. */
export function fitModels(request: FitRequest, grid: Grid = MINUTE_GRID): FitResult {
  const { series, signal, regime, models } = request;
  try {
    const history = History.read(new BinaryReader(Buffer.from(request.history)), grid, request.shape);
    const fits = models.map((name) => ({ model: name, parameters: soundFit(name, history) }));
    return { series, signal, regime, fits, failure: '' };
  } catch (error) {
    return failedFit(request, error instanceof Error ? error.message : String(error));
  }
}

export function failedFit({ series, signal, regime, models }: FitRequest, failure: string): FitResult {
  const fits = models.map((model) => ({ model, parameters: undefined }));
  return { series, signal, regime, fits, failure };
}

/** A fit with a number that is not finite counts as no fit: a library may return anything. */
function soundFit(name: string, history: History): Parameters | undefined {
  const parameters = MODELS.find((model) => model.name === name)?.fit(history);
  return parameters?.every(Number.isFinite) ? parameters : undefined;
}
