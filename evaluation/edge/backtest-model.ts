// Backtest model: loads a user's own model from a module.

import type { Model } from '../../processors/forecast/model.ts';
import { AppError } from '../../schemas/errors.ts';

const METHODS = ['stateSize', 'fitEvery', 'ready', 'fit', 'update', 'forecast'] as const;

/** The default export of the module at this URL. Throws CONFIG_INVALID when it cannot be loaded or is not a model. */
export async function modelAt(url: string): Promise<Model> {
  let module: { readonly default?: Partial<Model> };
  try {
    module = await import(url);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AppError('CONFIG_INVALID', `the model ${url} cannot be loaded: ${why}`, { url }, cause);
  }
  const model = module.default;
  const missing: string[] = METHODS.filter((name) => typeof model?.[name] !== 'function');
  if (typeof model?.name !== 'string' || model.name === '') missing.unshift('name');
  if (missing.length > 0)
    throw new AppError(
      'CONFIG_INVALID',
      `the default export of ${url} is not a model (processors/forecast/model.ts): it lacks ${missing.join(', ')}`,
      { url },
    );
  return model as Model;
}
