// RESP session: the commands of one connection to a shard server, and their replies (documented for clients in
// docs/protocol.md). There are the commands of Redis that its clients use to connect, and Foreshard's own, which begin
// with `FS.`.
//
//   P1. Where a token is configured, only HELLO, AUTH and QUIT are answered before it was given. Commands that change a
//       shard need the admin token.
//   P2. A connection that tracks is told of each answer that it may keep when the answer is no longer valid: after that
//       answer, and before any answer from after the change. A connection that does not track may keep no answers.
//   P3. A failure has a code of schemas/errors.ts, or one that Redis's clients know.

import { AppError } from '../../schemas/errors.ts';
import { type Epoch, epoch, type SliceKey, sliceKey } from '../../schemas/ids.ts';
import { parseSlice } from '../../state/keys.ts';
import { topicProblem } from '../../state/topic-filter.ts';
import type { Tracker } from '../answer-cache.ts';
import { audienceIn, hearersIn, memberAt } from '../audience.ts';
import { LOSSES } from '../identity.ts';
import { checkedShardName } from '../shard-name.ts';
import type { Asked, Meant, Provisioner, PublishQuestion, ShardStore, Subscriber } from '../shard-store.ts';
import type { ShardCall } from './calls.ts';
import { array, bulk, failure, integer, map, nothing, OK, push, type Reply, type RespVersion, simple } from './resp.ts';
import { type Rights, rightsOf, type Tokens } from './rights.ts';
import { keySpaceOfText, STATUS } from './wire.ts';

/** What the sessions of one server share. */
export interface RespServer {
  readonly provisioner: Provisioner;
  readonly tokens: Tokens;
  readonly statistics: Statistics;
  /** Carries out a request of Foreshard's (calls.ts). */
  carryOut(call: ShardCall): Promise<unknown>;
  /** The session with this id, while it is connected. */
  find(id: number): RespSession | undefined;
  /** Called for each failure of the server itself, and for those that an operator must see. */
  failed(call: string, shard: string, error: unknown): void;
}

export interface Statistics {
  /** In ms; only differences matter. */
  now(): number;
  command(): void;
  lookUp(ms: number): void;
  /** The contents of INFO, by section. */
  sections(): Readonly<Record<string, Readonly<Record<string, string | number>>>>;
}

export interface RespSessionParts {
  readonly id: number;
  readonly server: RespServer;
  /** Sends a push message. */
  readonly send: (reply: Reply) => void;
  /** Ends the connection after the replies so far. */
  readonly end: () => void;
}

type Words = readonly string[];
type Answer = Reply | Promise<Reply>;

interface Command {
  readonly rights: Rights;
  /** Number of arguments: least and most. */
  readonly words: readonly [least: number, most: number];
  readonly run: (session: RespSession, words: Words) => Answer;
}

/** Version of this protocol: raised when a command changes. */
const PROTOCOL = '1.0.0';
const INVALIDATE = '__redis__:invalidate';
/** Most slices of one shard in one question. */
const SLICES_MAX = 256;
/** Most words of one command. */
export const WORDS_MAX = 16_384;
/** Most slice keys and shards that a session caches. */
const REMEMBERED_MAX = 10_000;

const COMMANDS: Readonly<Record<string, Command>> = {
  HELLO: { rights: 'none', words: [0, 6], run: (session, words) => session.hello(words) },
  AUTH: { rights: 'none', words: [1, 2], run: (session, words) => session.authenticate(words.at(-1)!) },
  QUIT: { rights: 'none', words: [0, 0], run: (session) => session.quit() },
  PING: { rights: 'read', words: [0, 1], run: (_, [text]) => (text === undefined ? simple('PONG') : bulk(text)) },
  ECHO: { rights: 'read', words: [1, 1], run: (_, [text]) => bulk(text!) },
  SELECT: {
    rights: 'read',
    words: [1, 1],
    run: (_, [index]) => (index === '0' ? OK : failure('ERR', 'there is only database 0')),
  },
  COMMAND: { rights: 'read', words: [0, 100], run: () => array([]) },
  INFO: { rights: 'read', words: [0, 10], run: (session, sections) => session.info(sections) },
  CLIENT: { rights: 'read', words: [1, 20], run: (session, words) => session.client(words) },
  SUBSCRIBE: { rights: 'read', words: [1, 1], run: (session, [channel]) => session.subscribe(channel!) },
  UNSUBSCRIBE: { rights: 'read', words: [0, 1], run: (session) => session.unsubscribe() },
  'FS.FLEET': { rights: 'read', words: [2, 3], run: (session, words) => session.chooseFleet(words) },
  'FS.BROKERS': { rights: 'read', words: [5, 4 + SLICES_MAX], run: (session, words) => session.brokers(words) },
  'FS.MBROKERS': { rights: 'read', words: [6, WORDS_MAX], run: (session, words) => session.brokersOfMany(words) },
  'FS.CLIENTS': { rights: 'read', words: [5, 4 + SLICES_MAX], run: (session, words) => session.clients(words) },
  'FS.CALL': { rights: 'admin', words: [4, 4], run: (session, words) => session.call(words) },
};

export class RespSession {
  readonly id: number;
  readonly #server: RespServer;
  readonly #send: (reply: Reply) => void;
  readonly #end: () => void;
  #version: RespVersion = 2;
  #rights: Rights;
  #fleet: Meant = {};
  #name = '';
  /** The session that gets the push messages: this one, or the one it is redirected to. */
  #toldTo: RespSession | undefined;
  #hearsChanges = false;
  #turn = 0;
  /** By shard. */
  readonly #trackers = new Map<string, Tracker & { isOver: boolean }>();
  readonly #slices = new Map<string, SliceKey>();
  readonly #stores = new Map<string, ShardStore>();

  constructor({ id, server, send, end }: RespSessionParts) {
    this.id = id;
    this.#server = server;
    this.#send = send;
    this.#end = end;
    this.#rights = rightsOf('', server.tokens);
  }

  /** It may ask something. */
  get isKnown(): boolean {
    return this.#rights !== 'none';
  }

  /** The reply to one command. Never throws and never rejects. */
  execute(words: readonly Buffer[]): Answer {
    this.#server.statistics.command();
    const name = words[0]!.toString('latin1').toUpperCase();
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (command === undefined) return failure('ERR', `unknown command '${name.slice(0, 64)}'`);
    if (command.rights !== 'none' && this.#rights === 'none') return failure('NOAUTH', 'Authentication required.'); // P1
    if (command.rights === 'admin' && this.#rights !== 'admin')
      return failure('NOPERM', `this token may not run '${name}'`);
    const [least, most] = command.words;
    if (words.length - 1 < least || words.length - 1 > most)
      return failure('ERR', `wrong number of arguments for '${name.toLowerCase()}' command`);
    const texts = words.slice(1).map((word) => word.toString('utf8'));
    return this.#answered(name, texts, command.run);
  }

  hello(words: Words): Reply {
    const [version, ...rest] = words;
    if (version !== undefined && version !== '2' && version !== '3')
      return failure('NOPROTO', 'unsupported protocol version');
    for (let i = 0; i < rest.length; ) {
      const option = rest[i]!.toUpperCase();
      if (option === 'AUTH' && rest[i + 2] !== undefined) {
        const answer = this.authenticate(rest[i + 2]!);
        if (answer !== OK) return answer;
        i += 3;
      } else if (option === 'SETNAME' && rest[i + 1] !== undefined) {
        this.#name = rest[i + 1]!;
        i += 2;
      } else return failure('ERR', 'Syntax error in HELLO option');
    }
    if (this.#rights === 'none') return failure('NOAUTH', 'HELLO must be called with the client already authenticated');
    if (version !== undefined) this.#version = version === '3' ? 3 : 2;
    return map(this.#version, [
      [bulk('server'), bulk('foreshard')],
      [bulk('version'), bulk(PROTOCOL)],
      [bulk('proto'), integer(this.#version)],
      [bulk('id'), integer(this.id)],
      [bulk('mode'), bulk('standalone')],
      [bulk('role'), bulk('master')],
      [bulk('modules'), array([])],
    ]);
  }

  authenticate(token: string): Reply {
    const rights = rightsOf(token, this.#server.tokens);
    if (rights === 'none') return failure('WRONGPASS', 'the token is wrong');
    this.#rights = rights;
    return OK;
  }

  quit(): Reply {
    this.#end();
    return OK;
  }

  info(sections: Words): Reply {
    const wanted = new Set(sections.map((section) => section.toLowerCase()));
    const texts = Object.entries(this.#server.statistics.sections())
      .filter(([name]) => wanted.size === 0 || wanted.has('all') || wanted.has(name.toLowerCase()))
      .map(([name, values]) =>
        [`# ${name}`, ...Object.entries(values).map(([field, value]) => `${field}:${value}`), ''].join('\r\n'),
      );
    return bulk(texts.join('\r\n'));
  }

  client([what, ...words]: Words): Reply {
    switch (what!.toUpperCase()) {
      case 'ID':
        return integer(this.id);
      case 'GETNAME':
        return this.#name === '' ? nothing(this.#version) : bulk(this.#name);
      case 'SETNAME':
        this.#name = words[0] ?? '';
        return OK;
      case 'SETINFO':
      case 'NO-EVICT':
      case 'NO-TOUCH':
        return OK;
      case 'TRACKING':
        return this.#track(words.map((word) => word.toUpperCase()));
      default:
        return failure('ERR', `unknown subcommand '${what!.slice(0, 64)}'`);
    }
  }

  /** CLIENT TRACKING (P2). */
  #track([state, option, id, ...more]: Words): Reply {
    if (state === 'OFF' && option === undefined) {
      this.close();
      return OK;
    }
    if (state !== 'ON' || more.length > 0 || (option !== undefined && (option !== 'REDIRECT' || id === undefined)))
      return failure('ERR', 'CLIENT TRACKING ON [REDIRECT id], or OFF');
    const to = option === undefined ? this : this.#server.find(Number(id));
    if (to === undefined) return failure('ERR', 'The client ID you want redirect to does not exist');
    if (to === this && this.#version === 2)
      return failure('ERR', 'a connection of RESP2 is not told by itself: REDIRECT to one that subscribes');
    this.#toldTo = to;
    return OK;
  }

  subscribe(channel: string): Reply {
    if (channel !== INVALIDATE) return failure('ERR', `the only channel is ${INVALIDATE}`);
    this.#hearsChanges = true;
    return this.#told([bulk('subscribe'), bulk(channel), integer(1)]);
  }

  unsubscribe(): Reply {
    this.#hearsChanges = false;
    return this.#told([bulk('unsubscribe'), bulk(INVALIDATE), integer(0)]);
  }

  /**
   * Tells the client that answers with this key (`shard topic`, or `shard` for all of its topics) are no longer valid.
   */
  changed(key: string): void {
    const list = array([bulk(key)]);
    if (this.#hearsChanges) this.#send(this.#told([bulk('message'), bulk(INVALIDATE), list]));
    else if (this.#version === 3) this.#send(push([bulk('invalidate'), list]));
  }

  /** FS.FLEET partitions key-format [fleet]: the key space that the client's fleet uses (shard-store.ts D7). */
  chooseFleet([partitions, keyFormat, fleet]: Words): Reply {
    this.#stores.clear();
    this.#fleet = { keySpace: keySpaceOfText(`${partitions}/${keyFormat}`, fleet) };
    return OK;
  }

  /**
   * FS.MBROKERS epoch shard instance topic n slice [slice ...] [shard instance topic n slice [slice ...] ...]: one reply for each
   * question, a failure among them where there is one.
   */
  brokersOfMany([at, ...words]: Words): Answer {
    const answers: Answer[] = [];
    let isWhole = true;
    for (let i = 0; i < words.length; ) {
      const [shard, instanceId, topic, count] = words.slice(i, i + 4);
      const end = i + 4 + Number(count);
      if (!/^\d{1,3}$/.test(count ?? '') || Number(count) < 1 || Number(count) > SLICES_MAX || end > words.length)
        return failure('ERR', 'each question is: shard instance topic n, and n slices');
      const question = [shard!, instanceId!, at!, topic!, ...words.slice(i + 4, end)];
      const answer = this.#answered('FS.MBROKERS', question, (session, asked) => session.brokers(asked));
      if (typeof answer !== 'string') isWhole = false;
      answers.push(answer);
      i = end;
    }
    return isWhole ? array(answers as Reply[]) : Promise.all(answers).then(array);
  }

  /** FS.BROKERS shard instance epoch topic slice [slice ...] */
  brokers(words: Words): Answer {
    const { statistics } = this.#server;
    const began = statistics.now();
    const question = this.#questionIn(words);
    return this.#asking(words, (store) => {
      const tracker = this.#toldTo === undefined ? undefined : this.#trackerOf(words[0]!);
      const told = (asked: Asked): Reply => {
        statistics.lookUp(statistics.now() - began);
        return asked.kind === 'moved' ? movedReply(asked) : this.#audienceReply(asked, tracker !== undefined);
      };
      const asked = audienceIn(store, question, tracker);
      return asked instanceof Promise ? asked.then(told) : told(asked);
    });
  }

  /** FS.CLIENTS shard instance epoch topic slice [slice ...] */
  clients(words: Words): Answer {
    const { statistics } = this.#server;
    const began = statistics.now();
    const question = this.#questionIn(words);
    return this.#asking(words, async (store) => {
      const heard = await hearersIn(store, question);
      statistics.lookUp(statistics.now() - began);
      return heard.kind === 'moved' ? movedReply(heard) : array(heard.subscribers.map(subscriberReply));
    });
  }

  /** FS.CALL shard instance call json */
  async call([shard, instanceId, call, json]: Words): Promise<Reply> {
    let body: unknown;
    try {
      body = JSON.parse(json!);
    } catch {
      throw new AppError('REQUEST_INVALID', 'the body is not JSON');
    }
    const meant = { ...this.#fleet, instanceId: instanceId! };
    const answer = await this.#server.carryOut({ shard: shard!, meant, call: call!, body });
    return bulk(JSON.stringify(answer));
  }

  /** The connection has ended, or no longer tracks. */
  close(): void {
    this.#toldTo = undefined;
    for (const tracker of this.#trackers.values()) tracker.isOver = true;
    this.#trackers.clear();
  }

  #audienceReply({ audience: { brokers, groups }, keepMs }: Extract<Asked, { kind: 'audience' }>, isTracked: boolean) {
    const chosen = groups.map((group) => subscriberReply(memberAt(group, this.#turn++)));
    // For a share group the answer changes each time: another member's turn.
    const keep = !isTracked || groups.length > 0 ? 0 : keepMs;
    return array([
      array(brokers.map(bulk)),
      array(chosen),
      integer(keep === Number.POSITIVE_INFINITY ? -1 : Math.floor(keep)),
    ]);
  }

  /** Throws REQUEST_INVALID. */
  #questionIn([, , at, topic, ...slices]: Words): PublishQuestion {
    const asker = Number(at);
    if (!Number.isSafeInteger(asker) || asker < 0) throw new AppError('REQUEST_INVALID', 'the epoch is not a number');
    const problem = topicProblem(topic!);
    if (problem !== undefined) throw new AppError('REQUEST_INVALID', `the topic is not valid: ${problem}`);
    return { topic: topic!, slices: slices.map((slice) => this.#sliceOf(slice)), epoch: epoch(asker) };
  }

  #sliceOf(text: string): SliceKey {
    const known = this.#slices.get(text);
    if (known !== undefined) return known;
    if (parseSlice(text) === undefined) throw new AppError('REQUEST_INVALID', 'a slice key is not valid');
    if (this.#slices.size === REMEMBERED_MAX) this.#slices.clear();
    this.#slices.set(text, sliceKey(text));
    return sliceKey(text);
  }

  /** Asks the store of the shard; once more where it has been closed since it was asked last. */
  #asking([shard, instanceId]: Words, ask: (store: ShardStore) => Answer): Answer {
    const key = `${shard} ${instanceId}`;
    const again = async (): Promise<Reply> => {
      const meant = { ...this.#fleet, instanceId: instanceId! };
      const store = await this.#server.provisioner.store(checkedShardName(shard!), meant);
      if (this.#stores.size === REMEMBERED_MAX) this.#stores.clear();
      this.#stores.set(key, store);
      return ask(store);
    };
    const known = this.#stores.get(key);
    if (known === undefined) return again();
    const answer = ask(known);
    if (typeof answer === 'string') return answer;
    return answer.catch((error) => {
      if (!(error instanceof AppError && error.code === 'STORE_CLOSED')) throw error;
      this.#stores.delete(key);
      return again();
    });
  }

  #trackerOf(shard: string): Tracker {
    const known = this.#trackers.get(shard);
    if (known !== undefined) return known;
    const tracker = {
      isOver: false,
      dropped: (topic: string | undefined) => {
        if (!tracker.isOver) this.#toldTo?.changed(topic === undefined ? shard : `${shard} ${topic}`);
      },
    };
    this.#trackers.set(shard, tracker);
    return tracker;
  }

  /** What was not asked for, as each version writes it. */
  #told(items: readonly Reply[]): Reply {
    return this.#version === 3 ? push(items) : array(items);
  }

  /** What the command answers, a failure as a reply. */
  #answered(name: string, words: Words, run: Command['run']): Answer {
    try {
      const answer = run(this, words);
      return typeof answer === 'string' ? answer : answer.catch((error) => this.#failed(name, words, error));
    } catch (error) {
      return this.#failed(name, words, error);
    }
  }

  #failed(name: string, words: Words, error: unknown): Reply {
    if (error instanceof AppError) {
      if ((STATUS[error.code] ?? 500) >= 500 || LOSSES.has(error.code))
        this.#server.failed(name, words[0] ?? '', error);
      return failure(error.code, error.message);
    }
    this.#server.failed(name, words[0] ?? '', error);
    return failure('STORE_UNAVAILABLE', 'the shard server failed');
  }
}

/** `-MOVED slice epoch`: refresh the pointer table to at least this epoch, and ask along it. */
const movedReply = ({ slice, epoch: at }: { readonly slice: SliceKey; readonly epoch: Epoch }): Reply =>
  failure('MOVED', `${slice} ${at}`);

/** Filter, client, broker, QoS, noLocal, retainAsPublished, retainHandling, subscriptionIdentifier. */
const subscriberReply = ({ filter, clientId, brokerId, qos, options }: Subscriber): Reply =>
  array([
    bulk(filter),
    bulk(clientId),
    bulk(brokerId),
    integer(qos),
    integer(options?.noLocal ? 1 : 0),
    integer(options?.retainAsPublished ? 1 : 0),
    integer(options?.retainHandling ?? 0),
    integer(options?.subscriptionIdentifier ?? 0),
  ]);
