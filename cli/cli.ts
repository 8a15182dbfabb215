#!/usr/bin/env node
// The command line. Each command is a function under cli/; here it gets its name, arguments and exit codes. A command's
// modules are loaded only when it runs, so that help and questions to a running process start quickly.
//
//   0  done    1  failed: one line `CODE: message` on standard error    2  the command line or the configuration is wrong

import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { packageFile } from '../config/package-file.ts';
import { DEFAULT_CONTENDER } from '../evaluation/backtest/contenders.ts';
import { ORIGIN_SETS } from '../evaluation/backtest/protocol.ts';
import { AppError, type ErrorCode } from '../schemas/errors.ts';
import { addressBeside } from './beside.ts';
import { Output } from './output.ts';
import {
  BROKER_SETTINGS,
  configFrom,
  SHARD_SERVER_SETTINGS,
  share,
  speed,
  wholeNumber,
  withSettings,
  workersByDefault,
} from './settings.ts';
import { plain, table } from './text.ts';
import { MADE_SERIES, ROUNDS, trainWeights } from './train.ts';

const FAILED = 1;
const WRONG_USAGE = 2;

/** What to do about a failure whose own message does not say so. */
const ADVICE: Partial<Record<ErrorCode, string>> = {
  CONFIG_INVALID: '`foreshard config explain` shows every setting, its bounds and where its value comes from',
  CATALOG_INVALID: 'compare the file with catalog/example.json',
  REGISTRY_UNAVAILABLE: 'check --registry-url, and that the registry can be reached from here',
  TRACE_INVALID: 'a trace is a CSV: t,<series>[,<series>...], t in Unix seconds, equally spaced',
  PROTOCOL_INVALID:
    'a protocol lists each series with its file, seasons, test rows and scale; scores are a CSV as --out writes',
  OUTPUT_UNWRITABLE: 'check that the folder exists and may be written to',
  WEIGHTS_INVALID: 'write one anew with `foreshard train --out FILE`',
  UNAUTHORIZED:
    'set FORESHARD_HTTP_READ_TOKEN, and for approve and reject FORESHARD_HTTP_ADMIN_TOKEN, to those of the process',
  OWNER_UNREACHABLE: 'check the address given with --url',
};

/** Runs one command line; resolves with the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = programOf((code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : WRONG_USAGE; // Commander has printed why.
    if (!(error instanceof AppError)) {
      process.stderr.write(`a bug: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
      return FAILED;
    }
    const advice = ADVICE[error.code];
    process.stderr.write(`${error.code}: ${plain(error.message)}${advice === undefined ? '' : ` (${advice})`}\n`);
    return error.code === 'CONFIG_INVALID' ? WRONG_USAGE : FAILED;
  }
}

function programOf(exitWith: (code: number) => void): Command {
  const program = new Command('foreshard')
    .description('Predictive sharding manager for publish/subscribe fleets.')
    .version(version())
    .exitOverride()
    .configureHelp({ showGlobalOptions: false });
  const command = (name: string, about: string): Command =>
    program.command(name).description(about).option('--json', 'print one JSON value on standard output').exitOverride();
  /** The command's options when it runs; commander hands the command itself over last. */
  const outputOf = (of: Command): Output => new Output(of.opts().json === true);

  command(
    'demo',
    'a day of a small fleet in simulated time: forecast, moves, cost, and missed subscriptions; takes a minute or two',
  )
    .option('--seed <n>', 'seed; the same seed gives the same day', wholeNumber(0), 7)
    .option('--days <n>', 'days; the stadium fills up on the last evening', wholeNumber(1), 1)
    .addOption(
      new Option('--data-dir <dir>', 'keep the log and the shards in this folder').default('', 'a temporary folder'),
    )
    .option('--serve', 'serve the HTTP API during the run, and afterwards until Ctrl-C')
    .option('--http-port <port>', 'port of --serve', wholeNumber(0), 8080)
    .action(async (_options, self: Command) => {
      const { seed, days, dataDir, serve, httpPort } = self.opts();
      const output = outputOf(self);
      const { crowdOfLastDay, printDemo, runDemo } = await import('./demo/demo.ts');
      const { isSound } = await import('./demo/demo-summary.ts');
      const { createLogger } = await import('../runtime/edge/telemetry.ts');
      const run = await runDemo(
        {
          seed,
          minutes: days * 1_440,
          crowdFromMinute: crowdOfLastDay(days),
          dataDir,
          httpPort: serve === true ? httpPort : undefined,
          logger: createLogger({ level: 'error', pretty: false }),
        },
        output,
      );
      printDemo(run, output);
      if (run.httpPort !== 0) {
        output.line(`\nhttp://127.0.0.1:${run.httpPort} is served until Ctrl-C.`);
        await new Promise<void>((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve));
      }
      await run.stop();
      if (!isSound(run.summary)) exitWith(FAILED);
    });

  const host = (of: Command, name: string, without: string): Command =>
    of.option(
      `--${name} <address>`,
      `address to listen on; any except a loopback address needs ${without}`,
      '127.0.0.1',
    );

  const mqttOptions = (of: Command): Command =>
    host(
      of.option('--mqtt <port>', 'embedded: also serve MQTT 3.1.1 on this port, as the fleet’s broker', portNumber),
      'mqtt-host',
      'mqttUsername and mqttPassword',
    );
  const shardOptions = (of: Command): Command =>
    host(
      of.option('--shards <port>', 'embedded: also let brokers look up on this port, as in a shard server', portNumber),
      'shards-host',
      'shardServerToken',
    );
  withSettings(
    shardOptions(mqttOptions(command('run', 'start a process of the fleet from its configuration; serves HTTP'))),
  ).action(async ({ mqtt, mqttHost, shards, shardsHost }, self: Command) => {
    const { config } = configFrom(self);
    if (mqtt !== undefined && config.runtime !== 'embedded')
      self.error('--mqtt belongs to an embedded process; on Kafka, start `foreshard broker`');
    if (shards !== undefined && (config.runtime !== 'embedded' || config.shardServers.length > 0))
      self.error('--shards belongs to an embedded process with its own shards');
    const { runProcess } = await import('./serve.ts');
    await runProcess(config, outputOf(self), {
      mqtt: mqtt === undefined ? undefined : { host: mqttHost, port: mqtt },
      shards: shards === undefined ? undefined : { host: shardsHost, port: shards },
    });
  });

  withSettings(
    command(
      'replay',
      'turns a rate trace into subscription events: to Kafka, or embedded in simulated time, which takes some seconds for each hour of the trace',
    )
      .argument('<trace.csv>', 't,<series>[,<series>...], t in Unix seconds')
      .option('--series <name>', 'by default the first one')
      .option('--from <row>', 'first row, counted from 0', wholeNumber(0))
      .option('--to <row>', 'the row after the last', wholeNumber(1))
      .addOption(
        new Option('--speed <times>', 'to Kafka: how many times faster than the trace, or max')
          .argParser(speed)
          .default(Number.POSITIVE_INFINITY, 'max'),
      )
      .option('--events <n>', 'events in all', wholeNumber(1), 100_000)
      .option('--filters <n>', 'distinct topic filters', wholeNumber(1), 20_000)
      .option('--wildcards <share>', 'share of filters with a wildcard, 0 to 1', share, 0.1)
      .option('--clients <n>', 'clients', wholeNumber(1), 100_000)
      .option('--seed <n>', 'seed; the same seed gives the same events', wholeNumber(0), 7)
      .option('--now', 'shift the trace so that it ends now'),
  ).action(async (file: string, options, self: Command) => {
    const command = { ...options, file, now: options.now === true, keepsData: options.dataDir !== undefined };
    const { config } = configFrom(self);
    const { replay } = await import('./replay.ts');
    await replay(command, config, outputOf(self));
  });

  command('backtest', 'measures how accurate the forecasts are: on the series of a protocol, or on your own trace')
    .argument(
      '[trace.csv]',
      't,<series>[,<series>...], t in Unix seconds; the last quarter is forecast; at least 3,840 rows of a minute, 1,241 of five minutes or 185 of an hour',
    )
    .option('--series <name>', 'a series of the trace; by default all of them')
    .option('--protocol <file>', 'what is forecast and scored, instead of a trace')
    .option('--traces <dir>', "the protocol's traces; by default they lie beside it")
    .option(
      '--model <name>',
      'a model on its own, a reference, all of them, or the file of a model of your own',
      DEFAULT_CONTENDER,
    )
    .addOption(new Option('--set <origins>', 'all origins, or every third one').choices(ORIGIN_SETS).default('all'))
    .option('--out <file.csv>', 'write the rows here')
    .option('--baselines <file.csv>', 'scores to compare with, in the format of --out; needs --protocol')
    .option('--svg <path>', 'pictures: one file (.svg), or a folder with one for each series and an overview')
    .option('--weights <file>', 'weights of the model lstm; by default the built-in ones')
    .option('--workers <n>', 'worker threads; 0 uses only the main thread', wholeNumber(0), workersByDefault())
    .action(async (trace: string | undefined, options, self: Command) => {
      if ((trace === undefined) === (options.protocol === undefined)) self.error('give either a trace or --protocol');
      if (trace === undefined && options.series !== undefined) self.error('--series needs a trace');
      for (const name of ['traces', 'baselines'])
        if (trace !== undefined && options[name] !== undefined) self.error(`--${name} needs --protocol`);
      const { backtest, contenderProblem } = await import('./backtest.ts');
      refuse(self, '--model', contenderProblem(options.model));
      await backtest({ ...options, ...(trace === undefined ? {} : { trace }) }, outputOf(self));
    });
  command(
    'train',
    'trains or refines the global LSTM on synthetic series, on your traces (at least 200 rows each), or on both',
  )
    .argument('[trace.csv...]', 't,<series>[,<series>...], t in Unix seconds')
    .option('--out <file>', 'file for the weights', 'lstm.json')
    .option('--from <file>', 'weights to start from; `shipped` means those of this package')
    .option(
      '--made <n>',
      `number of synthetic series to learn from; by default ${MADE_SERIES}, or none when traces are given`,
      wholeNumber(0),
    )
    .option(
      '--trust <share>',
      'share of the learned correction that is kept; by default 0.5 with synthetic series alone, else 1',
      share,
    )
    .option('--rounds <n>', 'rounds of learning, a few seconds each', wholeNumber(1), ROUNDS)
    .option('--seed <n>', 'seed; the same seed gives the same weights', wholeNumber(0), 7)
    .action(async (files: string[], options, self: Command) => trainWeights({ ...options, files }, outputOf(self)));
  command(
    'provision',
    'what shards for the load of traces would have cost, and how often there would have been too few, with our policies and others',
  )
    .requiredOption('--protocol <file>', 'which series to use, from which row on, and the shards and lead time')
    .option('--traces <dir>', "the protocol's traces; by default they lie beside it")
    .option('--policy <name>', 'balanced, cautious, a reference, or all of them', 'all')
    .option('--out <file.csv>', 'write the rows here')
    .option('--baselines <file.csv>', 'scores to print for comparison, in the format of --out')
    .option('--except <names...>', 'leave data sets whose names begin with these out of the means', [])
    .action(async (options, self: Command) => {
      const { policyProblem, provision } = await import('./provision.ts');
      refuse(self, '--policy', policyProblem(options.policy));
      await provision(options, outputOf(self));
    });
  command(
    'what-if',
    'what a fleet with the load of your traces would cost, with our planner, other policies and a perfect forecast',
  )
    .argument(
      '<trace.csv|dir>',
      't,<series>[,<series>...], t in Unix seconds; a folder plays all its traces at once; each needs --hours and 6 hours more',
    )
    .addOption(new Option('--catalog <file>', 'datastore types and prices').default('', 'the example'))
    .option('--policy <name>', 'foreshard, perfect, a reference, or all of them', 'all')
    .option('--seed <n>', 'seed; the same seed gives the same fleet', wholeNumber(0), 7)
    .option(
      '--hours <n>',
      'length of the run: the last hours of the traces; forecasts learn from up to 96 hours before',
      wholeNumber(1),
      24,
    )
    .option('--except <names...>', 'leave out files of the folder whose names begin with these', [])
    .option('--out <file.csv>', 'write the rows here')
    .option('--svg <file>', 'write a picture here')
    .action(async (traces: string, options, self: Command) => {
      const { runWhatIf, whatIfPolicyProblem } = await import('./what-if.ts');
      refuse(self, '--policy', whatIfPolicyProblem(options.policy));
      await runWhatIf({ ...options, traces }, outputOf(self));
    });

  const asking = (of: Command): Command =>
    withSettings(
      of.option(
        '--url <address>',
        'ask this running process over HTTP instead of reading topics; for an embedded one not needed beside its folder',
      ),
    );
  const views = () => import('./views.ts');
  const plans = () => import('./plans.ts');
  const sourceOf = async (self: Command) => {
    const { config } = configFrom(self);
    return { config, url: (self.opts().url as string | undefined) ?? (await addressBeside(config)) };
  };

  asking(
    command('pointers', 'shows the pointer table, or where one topic or filter is')
      .option('--topic <topic>', 'a topic that messages go to')
      .option('--filter <filter>', 'a topic filter that clients subscribe to'),
  ).action(async ({ topic, filter }, self: Command) => {
    if (topic !== undefined && filter !== undefined) self.error('--topic and --filter exclude each other');
    await (await views()).showPointers(await sourceOf(self), topic ?? filter, outputOf(self));
  });
  asking(command('shards', 'lists the shards, their datastores and how full they are')).action(
    async (_options, self: Command) => (await views()).showShards(await sourceOf(self), outputOf(self)),
  );
  asking(command('moves', 'lists moves under way and recently ended, newest first')).action(
    async (_options, self: Command) => (await views()).showMoves(await sourceOf(self), outputOf(self)),
  );
  asking(command('plans', 'lists plans that wait for approval, and the results of the last ones')).action(
    async (_options, self: Command) => (await plans()).showPlans(await sourceOf(self), outputOf(self)),
  );
  for (const [name, answer, about] of [
    [
      'approve',
      'APPROVE',
      'approves a waiting plan: its actions that are still needed are carried out, and the steps that follow from them',
    ],
    ['reject', 'REJECT', 'rejects a waiting plan: the same actions are not proposed again for a while'],
  ] as const)
    asking(command(name, about).argument('<plan>', 'as `foreshard plans` names it')).action(
      async (plan: string, _options, self: Command) =>
        (await plans()).answerPlan(await sourceOf(self), plan, answer, outputOf(self)),
    );
  asking(
    command('explain', 'shows the decisions about something, with their reasons; newest first')
      .argument('<what>', 'a decision, request, command, move, plan, topic, filter, shard or slice')
      .option('--limit <n>', 'number of decisions to show', wholeNumber(1), 20),
  ).action(async (what: string, { limit }, self: Command) =>
    (await views()).explain(await sourceOf(self), what, limit, outputOf(self)),
  );

  asking(
    command(
      'check',
      'compares the rows of shards with the subscriptions; exit code 0 when nothing differs, or every difference was corrected',
    )
      .argument('[what]', 'a shard or a slice; by default everything')
      .option('--repair', 'correct differences'),
  ).action(async (what: string | undefined, { repair }, self: Command) => {
    const { checkShards } = await import('./check.ts');
    const asked = { ...(await sourceOf(self)), what, repair: repair === true };
    if (!(await checkShards(asked, outputOf(self), sleep))) exitWith(FAILED);
  });

  asking(
    command(
      'rebuild',
      'rebuilds a shard that has lost its data from the subscription table, without waiting for it to come back; exit code 0 when the rebuild begins',
    )
      .argument('<shard>', 'as `foreshard shards` names it')
      .option(
        '--force',
        'rebuild also a shard that is not known to be lost, because it will not come back or its data cannot be corrected',
      ),
  ).action(async (shard: string, { force }, self: Command) => {
    const { rebuildShard } = await import('./rebuild.ts');
    if (!(await rebuildShard({ ...(await sourceOf(self)), shard, force: force === true }, outputOf(self))))
      exitWith(FAILED);
  });

  withSettings(
    command('export', 'writes the live subscriptions of a fleet to a file; not while an embedded process runs')
      .argument('[file]', 'by default standard output, as JSON lines')
      .addOption(new Option('--format <format>', 'of the file').choices(['json', 'avro']).default('json')),
  ).action(async (file: string | undefined, { format }, self: Command) => {
    if (file === undefined && format === 'avro') self.error('--format avro needs a file');
    const { exportSubscriptions } = await import('./export.ts');
    await exportSubscriptions({ file, format }, configFrom(self).config, outputOf(self));
  });
  withSettings(
    command(
      'import',
      'imports the subscriptions of a file or of another cluster; may be repeated; exit code 1 when something was refused; not while an embedded process runs',
    )
      .argument('<file|brokers>', 'as `export` writes it, or the bootstrap servers of another Kafka')
      .option('--from <n>', 'first line or record; by default where an interrupted run stopped', wholeNumber(1))
      .option('--source-prefix <prefix>', 'prefix of the other cluster’s topics; by default as here')
      .option('--source-registry-url <url>', 'the other cluster’s schema registry; by default as here'),
  ).action(async (source: string, { from, sourcePrefix, sourceRegistryUrl }, self: Command) => {
    const { importSubscriptions } = await import('./import.ts');
    const asked = { source, from, sourcePrefix, sourceRegistryUrl };
    if (!(await importSubscriptions(asked, configFrom(self).config, outputOf(self)))) exitWith(FAILED);
  });

  withSettings(
    command(
      'accept-loss',
      'after INPUT_TRUNCATED, with every instance stopped: continue without the records that are gone; prints which shards to check',
    ),
  ).action(async (_options, self: Command) => {
    const { acceptLoss } = await import('./accept-loss.ts');
    await acceptLoss(configFrom(self).config, outputOf(self));
  });

  const letters = program.command('dead-letters').description('records that were refused').exitOverride();
  const letterViews = () => import('./dead-letters.ts');
  const letterCommand = (name: string, about: string): Command =>
    letters.command(name).description(about).option('--json', 'print one JSON value').exitOverride();
  asking(letterCommand('list', 'lists all of them with their codes; from a running process the last 1,000')).action(
    async (_options, self: Command) => (await letterViews()).listLetters(await sourceOf(self), outputOf(self)),
  );
  asking(
    letterCommand('show', 'shows one of them, with its bytes').argument(
      '<number>',
      'as `list` names it',
      wholeNumber(0),
    ),
  ).action(async (number: number, _options, self: Command) =>
    (await letterViews()).showLetter(await sourceOf(self), number, outputOf(self)),
  );
  withSettings(
    letterCommand('replay', 'appends the original records to their topics again; not while an embedded process runs'),
  )
    .argument('<number...>', 'as `list` names them', (text: string, before: number[] | undefined) => [
      ...(before ?? []),
      wholeNumber(0)(text),
    ])
    .action(async (numbers: number[], _options, self: Command) =>
      (await letterViews()).replayLetters(configFrom(self).config, numbers, outputOf(self)),
    );

  const sessions = program
    .command('sessions')
    .description('operations on the sessions of brokers that are silent, were restarted or came back')
    .exitOverride();
  const sessionCommand = (name: string, about: string): Command =>
    asking(sessions.command(name).description(about).option('--json', 'print one JSON value').exitOverride());
  sessionCommand('list', 'lists the operations on these sessions, newest first, with progress').action(
    async (_options, self: Command) =>
      (await import('./sessions.ts')).listSessionOperations(await sourceOf(self), outputOf(self)),
  );
  sessionCommand('cancel', 'stops it; sessions that it has not reached are left as they are')
    .argument('<operation>', 'as `list` names it')
    .action(async (operation: string, _options, self: Command) =>
      (await import('./sessions.ts')).cancelSessionOperation(await sourceOf(self), operation, outputOf(self)),
    );

  const config = program.command('config').description('the configuration').exitOverride();
  withSettings(
    config
      .command('explain')
      .description('shows every setting: its value, where that comes from, its bounds and meaning')
      .option('--json', 'print one JSON value')
      .exitOverride(),
  ).action(async (_options, self: Command) => {
    const explained = configFrom(self).explain();
    const output = outputOf(self);
    output.json(explained);
    output.lines(
      table([
        ['setting', 'value', 'from', 'bounds', 'meaning'],
        ...explained.map(({ name, value, source, range, unit, about }) => [
          name,
          plain(value),
          source,
          unit === '' ? range : `${range} ${unit}`,
          about,
        ]),
      ]),
    );
  });

  withSettings(
    host(
      command('broker', 'an MQTT 3.1.1 broker of a fleet on Kafka')
        .option('--id <name>', 'name of this broker, which no other one has and which it keeps', hostname())
        .option('--port <port>', 'port to listen on; 0 chooses a free one', portNumber, 1883),
      'host',
      'mqttUsername and mqttPassword',
    ),
    BROKER_SETTINGS,
  ).action(async ({ host: address, port, id }, self: Command) => {
    const { config } = configFrom(self, { runtime: 'kafka' });
    const { runBroker } = await import('./serve.ts');
    await runBroker(config, id, { host: address, port }, outputOf(self));
  });

  withSettings(
    command('shard-server', 'serves the shards of this machine to other processes')
      .option('--host <address>', 'address to listen on; any except a loopback address needs a token', '127.0.0.1')
      .option('--port <port>', 'port to listen on; 0 chooses a free one', portNumber, 7070),
    SHARD_SERVER_SETTINGS,
  ).action(async ({ host, port }, self: Command) => {
    const { config } = configFrom(self);
    const { runShardServer } = await import('./serve.ts');
    await runShardServer(config, host, port, outputOf(self));
  });

  return program;
}

/** Ends the command when the value of an option is wrong. */
function refuse(command: Command, option: string, problem: string | undefined): void {
  if (problem !== undefined) command.error(`error: option '${option}': ${problem}`);
}

function portNumber(text: string): number {
  const port = wholeNumber(0)(text);
  if (port > 65_535) throw new InvalidArgumentError('It must be at most 65535.');
  return port;
}

/** Of the package that this file is in. */
function version(): string {
  try {
    const file = packageFile('package.json', import.meta.url, existsSync);
    return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
  } catch {
    return '0.0.0';
  }
}

/** True when started as a program, also through the link that npm installs, and false when imported by a test. */
const isProgram = process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url);
if (isProgram) {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0); // The reader of our output has closed the pipe (EPIPE): end quietly.
    throw error;
  });
  const code = await main(process.argv.slice(2));
  process.exit(code);
}
