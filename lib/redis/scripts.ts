/**
 * The atomic steps of the outbox's store, as Lua: each is one command on one key, which every client can send, even over a
 * pool, a cluster or a connection shared with the app's own commands.
 *
 * A record is an entry of the stream. Its owner is the consumer whose pending entries list contains it; a settled record is in
 * neither.
 */

/** No entry follows this id, so reading after it is a pure sign of life. Reading after the greatest possible id would be an error. */
export const LAST_ID = '18446744073709551614-0'

/** The consumer that owns the records of closed instances. */
export const CLOSED = 'closed'

/**
 * Creates the group if it is missing: the stream is new, Redis was flushed, or the group was destroyed. Whatever the stream
 * then contains has no known owner.
 */
const GROUP = `
local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local function withGroup (...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err and string.find(reply.err, 'NOGROUP', 1, true) then
    redis.call('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
    redis.call('XREADGROUP', 'GROUP', group, '${CLOSED}', 'STREAMS', stream, '>')
    reply = redis.pcall(...)
  end
  if type(reply) == 'table' and reply.err then error(reply.err) end
  return reply
end
`

/** group, consumer, maxLength, payloads → ids. Adds and claims atomically: no other instance can read the records in between. */
export const APPEND = `${GROUP}
local count = #ARGV - 3
if redis.call('XLEN', stream) + count > tonumber(ARGV[3]) then return redis.error_reply('FULL the stream has maxLength records') end
withGroup('XREADGROUP', 'GROUP', group, me, 'COUNT', 1, 'STREAMS', stream, '${LAST_ID}')
local ids = {}
for i = 1, count do ids[i] = redis.call('XADD', stream, '*', 'record', ARGV[i + 3]) end
if count == 0 then return ids end
-- As XREADGROUP would, without the records on their way through here.
local claim = { 'XCLAIM', stream, group, me, 0 }
for i = 1, count do claim[i + 5] = ids[i] end
for _, word in ipairs({ 'FORCE', 'JUSTID', 'LASTID', ids[count] }) do claim[#claim + 1] = word end
redis.call(unpack(claim))
return ids
`

/** group, consumer, ids. Atomic: a record that is acknowledged but not deleted would have no owner, and stay for good. */
export const SETTLE = `
local ids = { unpack(ARGV, 3) }
if #ids == 0 then return 0 end
redis.call('XACK', KEYS[1], ARGV[1], unpack(ids))
return redis.call('XDEL', KEYS[1], unpack(ids))
`

/**
 * group, consumer, claimAfter, count → entries that the consumer now owns: first unowned ones, then those of instances that
 * were closed or gave no sign of life for `claimAfter` ms by the server's clock. Empty if there are none.
 */
export const ADOPT = `${GROUP}
if redis.call('EXISTS', stream) == 0 then return {} end
local claimAfter, count = tonumber(ARGV[3]), ARGV[4]
local reply = withGroup('XREADGROUP', 'GROUP', group, me, 'COUNT', count, 'STREAMS', stream, '>')
local entries = reply and reply[1] and reply[1][2] or {}
if #entries > 0 then return entries end
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local consumer = {}
  for i = 1, #info, 2 do consumer[info[i]] = info[i + 1] end
  local name = consumer.name
  if name ~= me and (name == '${CLOSED}' or consumer.idle >= claimAfter) then
    local pending = consumer.pending > 0 and redis.call('XPENDING', stream, group, '-', '+', count, name) or {}
    while #pending > 0 do
      local ids = {}
      for i, entry in ipairs(pending) do ids[i] = entry[1] end
      local there = {}
      for _, entry in ipairs(redis.call('XCLAIM', stream, group, me, 0, unpack(ids))) do
        if type(entry) == 'table' and entry[2] then
          entries[#entries + 1] = entry
          there[entry[1]] = true
        end
      end
      for _, id in ipairs(ids) do
        if not there[id] then redis.call('XACK', stream, group, id) end
      end
      if #entries > 0 then return entries end
      pending = redis.call('XPENDING', stream, group, '-', '+', count, name)
    end
    if name ~= '${CLOSED}' and consumer.idle >= 10 * claimAfter then redis.call('XGROUP', 'DELCONSUMER', stream, group, name) end
  end
end
return entries
`

/** group, consumer, count → number of records handed to other instances; 0 if none was left and the consumer is deleted. */
export const LEAVE = `
local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local pending = redis.pcall('XPENDING', stream, group, '-', '+', ARGV[3], me)
if pending.err then return 0 end
local ids = {}
for i, entry in ipairs(pending) do ids[i] = entry[1] end
if #ids > 0 then
  ids[#ids + 1] = 'JUSTID'
  redis.call('XCLAIM', stream, group, '${CLOSED}', 0, unpack(ids))
else
  redis.call('XGROUP', 'DELCONSUMER', stream, group, me)
end
return #pending
`
