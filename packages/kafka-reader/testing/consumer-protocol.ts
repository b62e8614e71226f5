/** Reads what the leader of a classic group assigned, for tests with members of their own. */
export { partitionsOf } from '../src/group/consumer-protocol.ts'
