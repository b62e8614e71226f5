/** A broker with two listeners: on one of them everything is allowed, on the other users log in and may only do what they were granted. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { Admin } from '@platformatic/kafka'
import type { Kafka } from '@poke-api-pipeline/dev'
import { startLoginKafka } from './login-kafka.ts'
import { Topics } from './topics.ts'

/** By their names: https://kafka.apache.org/43/security/authorization-and-acls/ */
const OPERATIONS = { Read: 3, Write: 4, Create: 5, Describe: 8, DescribeConfigs: 10 } as const
const RESOURCES = { topic: 2, group: 3, cluster: 4 } as const
const LITERAL = 3
const ALLOW = 3
const ANY = 1

export type Operation = keyof typeof OPERATIONS
type Creations = Parameters<Admin['createAcls']>[0]['creations']

export class GuardedKafka {
  readonly dir: string
  readonly #users: Readonly<Record<string, string>>
  #kafka!: Kafka
  #topics!: Topics
  #admin!: Admin
  #login = ''

  private constructor(dir: string, users: Readonly<Record<string, string>>) {
    this.dir = dir
    this.#users = users
  }

  /**
   * The broker of a test file: it runs when the first test begins.
   * @param name begins the folder's name
   * @param users passwords by user; a user may do nothing at first
   */
  static ofFile(name: string, users: Readonly<Record<string, string>>): GuardedKafka {
    const guarded = new GuardedKafka(mkdtempSync(join(tmpdir(), `${name}-`)), users)
    before(() => guarded.#start())
    after(() => guarded.#stop())
    return guarded
  }

  /** The listener without a login. */
  get brokers(): string {
    return this.#kafka.brokers
  }

  /** The listener with a login. */
  get login(): string {
    return this.#login
  }

  get topics(): Topics {
    return this.#topics
  }

  /** Grants a user an operation on one topic, one group, or the cluster. */
  async grant(user: string, resource: keyof typeof RESOURCES, name: string, ...operations: Operation[]): Promise<void> {
    const creations = operations.map((operation) => ({
      resourceType: RESOURCES[resource],
      resourceName: name,
      resourcePatternType: LITERAL,
      principal: `User:${user}`,
      host: '*',
      operation: OPERATIONS[operation],
      permissionType: ALLOW,
    }))
    await this.#admin.createAcls({ creations: creations as Creations })
  }

  /** Removes all rights of a user, or those to one topic. */
  async revoke(user: string, topic: string | null = null): Promise<void> {
    const resource = { resourceType: topic === null ? ANY : RESOURCES.topic, resourceName: topic, resourcePatternType: ANY }
    const filter = { ...resource, principal: `User:${user}`, operation: ANY, permissionType: ANY }
    await this.#admin.deleteAcls({ filters: [{ ...filter, host: null }] as Parameters<Admin['deleteAcls']>[0]['filters'] })
  }

  async #start(): Promise<void> {
    const { kafka, login } = await startLoginKafka({ dir: join(this.dir, 'kafka'), users: this.#users })
    this.#kafka = kafka
    this.#login = login
    this.#topics = new Topics(this.#kafka.brokers)
    this.#admin = new Admin({ clientId: 'guard', bootstrapBrokers: [this.#kafka.brokers] })
  }

  async #stop(): Promise<void> {
    await this.#topics.close()
    await this.#admin.close()
    await this.#kafka.kill()
    rmSync(this.dir, { recursive: true, force: true })
  }
}
