// Failures: every failure of Kafka is classified here.
//
//   E1. Whatever kafkajs throws becomes an AppError: its connections fail in more ways than its types say, and
//       none of these failures is a bug of ours.
//   E2. A failure is final only when waiting cannot mend it; after any other failure the caller waits and tries again.

import { AppError } from '../../schemas/errors.ts';

/** What a failure means for the caller. */
export type Trouble =
  /** Another producer has taken this transactional id over. */
  | 'fenced'
  /** The group has continued without us. */
  | 'expelled'
  /** The group is rebalancing. */
  | 'rebalancing'
  /** The wrong broker was asked: the leader or coordinator has moved, or is still loading. */
  | 'moved'
  /** The transaction before this one is still being completed. */
  | 'busy'
  /**
   * The request may or may not have been carried out: the connection ended, the time ran out, or the error is not known
   * here.
   */
  | 'unknown';

const TROUBLES: Readonly<Record<string, Trouble>> = {
  INVALID_PRODUCER_EPOCH: 'fenced',
  TRANSACTION_COORDINATOR_FENCED: 'fenced',
  UNKNOWN_MEMBER_ID: 'expelled',
  ILLEGAL_GENERATION: 'expelled',
  FENCED_INSTANCE_ID: 'expelled',
  REBALANCE_IN_PROGRESS: 'rebalancing',
  NOT_COORDINATOR_FOR_GROUP: 'moved',
  GROUP_COORDINATOR_NOT_AVAILABLE: 'moved',
  GROUP_LOAD_IN_PROGRESS: 'moved',
  NOT_LEADER_FOR_PARTITION: 'moved',
  LEADER_NOT_AVAILABLE: 'moved',
  CONCURRENT_TRANSACTIONS: 'busy',
};

export function troubleOf(error: unknown): Trouble {
  for (const each of causesOf(error)) {
    const trouble = each.type === undefined ? undefined : TROUBLES[each.type];
    if (trouble !== undefined) return trouble;
    if (each.type === 'KAFKAJS_UNKNOWN_ERROR_CODE' && each.message?.endsWith(' 90')) return 'fenced'; // PRODUCER_FENCED
  }
  return 'unknown';
}

/**
 * `again`: the caller waits and tries again. `fenced`: another instance has the task. `final`: waiting does not help
 * (E2).
 */
export type Fate = 'again' | 'fenced' | 'final';

/**
 * Data that is gone, topics with the wrong configuration, credentials that Kafka refuses, records that Kafka never
 * accepts.
 */
const FINAL: ReadonlySet<AppError['code']> = new Set([
  'INPUT_TRUNCATED',
  'TOPIC_MISCONFIGURED',
  'VALUE_TOO_LARGE',
  'CONFIG_INVALID',
]);

export function fateOf(error: unknown): Fate {
  if (!(error instanceof AppError)) return 'final'; // A bug: by E1 it is not Kafka's doing.
  if (error.code === 'TASK_FENCED') return 'fenced';
  return FINAL.has(error.code) ? 'final' : 'again';
}

/** E1: the failure as an AppError, with the original as its cause. */
export function logFailure(error: unknown): AppError {
  if (error instanceof AppError) return error;
  return new AppError('LOG_UNAVAILABLE', `Kafka: ${reasonOf(error)}`, {}, error);
}

/** True when a partition's leader answered with this failure: the same request would get the same answer. */
export const isAnswer = (error: unknown): boolean => error instanceof AppError && error.facts.errorCode !== undefined;

/** True when Kafka refuses our credentials. */
export const isRefused = (error: unknown): boolean =>
  [...causesOf(error)].some((each) => each.name === 'KafkaJSSASLAuthenticationError');

/** Kafka's name of the failure, for the operator. */
export function reasonOf(error: unknown): string {
  for (const each of causesOf(error)) if (each.type !== undefined) return `${each.type}: ${each.message ?? ''}`;
  return error instanceof Error ? error.message : String(error);
}

export interface KafkaError {
  readonly name?: string;
  readonly type?: string;
  readonly message?: string;
  readonly cause?: KafkaError;
  readonly host?: string;
  readonly port?: number;
  /** In an aggregate: one for each topic. */
  readonly errors?: readonly { readonly type?: string; readonly topic?: string; readonly message?: string }[];
}

const CAUSES_MAX = 8;

/** The failure and its causes, outermost first. */
export function* causesOf(error: unknown): Generator<KafkaError> {
  let each = error as KafkaError | undefined | null;
  for (let depth = 0; typeof each === 'object' && each !== null && depth < CAUSES_MAX; depth++) {
    yield each;
    each = each.cause;
  }
}

/** A proxy of the object whose failures are AppErrors (E1); so are those of the brokers that its calls resolve with. */
export function guarded<Target extends object>(target: Target): Target {
  return new Proxy(target, {
    get(object, name) {
      const member: unknown = Reflect.get(object, name);
      if (typeof member !== 'function') return member;
      return (...given: unknown[]): unknown => {
        try {
          const answer: unknown = member.apply(object, given);
          if (!(answer instanceof Promise)) return answer;
          return answer.then(guardedAnswer, (error: unknown) => {
            throw logFailure(error);
          });
        } catch (error) {
          throw logFailure(error);
        }
      };
    },
  });
}

const guardedBrokers = new WeakMap<object, object>();

/** Wraps a broker in the same proxy each time it is returned. */
function guardedAnswer(answer: unknown): unknown {
  if (typeof answer !== 'object' || answer === null || !('connectionPool' in answer)) return answer;
  const known = guardedBrokers.get(answer) ?? guarded(answer);
  guardedBrokers.set(answer, known);
  return known;
}
