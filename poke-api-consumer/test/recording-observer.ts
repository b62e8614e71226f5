/** An observer that keeps all calls that tests check. */

import type { DataLoss, FetchPosition, TopicPartition } from '@poke-api-pipeline/kafka-reader'
import type { CountedResponse, CountObserver, PartitionSummary, StopReason, Totals } from '../src/application/ports.ts'

export class RecordingObserver implements CountObserver {
  readonly heard: string[] = []
  readonly responses: CountedResponse[] = []
  readonly losses: StopReason[] = []
  readonly errors: Error[] = []
  partitions: readonly PartitionSummary[] = []
  latest: Totals | null = null

  partitionsSeen(partitions: readonly PartitionSummary[]): void {
    this.partitions = partitions
  }
  totals(totals: Totals): void {
    this.latest = totals
  }
  opened(partition: TopicPartition, position: FetchPosition): void {
    this.heard.push(`opened ${partition.partition} at ${position.offset}`)
  }
  counted(_: TopicPartition, response: CountedResponse): void {
    this.responses.push(response)
  }
  committed(partition: TopicPartition): void {
    this.heard.push(`committed ${partition.partition}`)
  }
  fenced(partition: TopicPartition): void {
    this.heard.push(`fenced ${partition.partition}`)
  }
  stopped(partition: TopicPartition, loss: StopReason): void {
    this.heard.push(`stopped ${partition.partition}`)
    this.losses.push(loss)
  }
  skipped(partition: TopicPartition, loss: DataLoss): void {
    this.heard.push(`skipped ${partition.partition}`)
    this.losses.push(loss)
  }
  closed(partition: TopicPartition): void {
    this.heard.push(`closed ${partition.partition}`)
  }
  storeFailed(error: Error): void {
    this.heard.push('store failed')
    this.errors.push(error)
  }
  storeWorked(): void {
    this.heard.push('store works again')
  }
  deadLettersPublished(deadLetters: number): void {
    this.heard.push(`${deadLetters} dead letters published`)
  }
  deadLetterPublishingFailed(error: Error): void {
    this.heard.push('dead letters not published')
    this.errors.push(error)
  }
  deadLetterPublishingWorked(): void {
    this.heard.push('dead letters are published again')
  }
  fileWritten(): void {
    this.heard.push('file written')
  }
  fileFailed(error: Error): void {
    this.heard.push('file failed')
    this.errors.push(error)
  }
}
