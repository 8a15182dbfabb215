// Kafka jars: the broker as Maven has it, with what makes it write its log, downloaded once into a cache.

import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { runProcess } from './processes.ts';

export const KAFKA_VERSION = '4.1.0';
/** Where downloads are kept between runs. */
export const CACHE_FOLDER = resolve(process.env.FORESHARD_CACHE ?? join(import.meta.dirname, '../../.cache'));

/** The folder of the jars. */
export async function kafkaJars(): Promise<string> {
  const given = process.env.FORESHARD_KAFKA_LIB;
  if (given !== undefined) return given;
  const lib = join(CACHE_FOLDER, `kafka-${KAFKA_VERSION}`, 'jars');
  if (existsSync(lib)) return lib;
  await mkdir(CACHE_FOLDER, { recursive: true });
  const work = await mkdtemp(join(CACHE_FOLDER, 'download-'));
  await writeFile(
    join(work, 'pom.xml'),
    `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
  <groupId>foreshard</groupId><artifactId>kafka-for-tests</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${KAFKA_VERSION}</version>
  </dependency><dependency>
    <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version>
  </dependency></dependencies></project>\n`,
  );
  await runProcess('mvn', ['-q', 'dependency:copy-dependencies', `-DoutputDirectory=${join(work, 'jars')}`], work);
  await mkdir(join(CACHE_FOLDER, `kafka-${KAFKA_VERSION}`), { recursive: true });
  // Another run may have finished its download first; the jars are the same.
  await rename(join(work, 'jars'), lib).catch(() => {});
  await rm(work, { recursive: true, force: true });
  return lib;
}
