package redis

import (
	"crypto/sha1" //nolint:gosec // what EVALSHA names scripts by
	"encoding/hex"
)

// script is a Lua script with the name that EVALSHA knows it by. A script runs
// alone on its node (redis.io/docs/latest/develop/programmability/eval-intro):
// nothing comes between asking and counting (attack Q-10).
type script struct{ text, sha string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text))
	return script{text, hex.EncodeToString(sum[:])}
}

// scripts are all that a store runs.
type scripts struct{ windows, refund, history, keep script }

func newScripts() scripts {
	return scripts{newScript(windowsLua), newScript(refundLua), newScript(historyLua), newScript(keepLua)}
}

// aliensLua asks; what has another type under a name of ours is not of ours,
// and no act of ours may fail for it for ever: it is removed.
const aliensLua = `
local function own(key, ...)
  local r = redis.pcall(...)
  if type(r) == 'table' and r.err then
    if not string.find(r.err, 'WRONGTYPE', 1, true) then error(r.err) end
    redis.call('DEL', key)
    r = redis.call(...)
  end
  return r
end
`

// lateLua begins scripts that count. Who sent it has given up by the deadline
// (microseconds of the server's own clock) and counts elsewhere: what runs
// later must do nothing, or the act would count twice (attack Q-06).
const lateLua = aliensLua + `
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local deadline = tonumber(ARGV[1])
if deadline > 0 and now > deadline then return {now, -1} end
local function int(n) return string.format('%.0f', n) end
`

// windowsLua counts an act against all windows of one hash tag, or none. For
// each key: width of a bucket in microseconds, number of buckets, most, cost.
// A window is a hash: bucket number to count, t their sum, o a number that no
// bucket is below. The buckets are looked at one by one only when the oldest
// leaves, or when an act is refused.
const windowsLua = lateLua + `
local count = ARGV[2] == 'count'
local fits, seen, w = true, {}, {}
for i, key in ipairs(KEYS) do
  local a = 3 + (i - 1) * 4
  local one = {width = tonumber(ARGV[a]), buckets = tonumber(ARGV[a + 1]), max = tonumber(ARGV[a + 2]), cost = tonumber(ARGV[a + 3])}
  one.n = math.floor(now / one.width)
  local h = own(key, 'HMGET', key, 't', 'o')
  one.total = tonumber(h[1] or 0)
  one.oldest = tonumber(h[2] or one.n)
  if one.oldest <= one.n - one.buckets then
    local all, gone, left = redis.call('HGETALL', key), {}, one.n
    one.total = 0
    for j = 1, #all, 2 do
      local b = tonumber(all[j])
      if b and b <= one.n - one.buckets then
        gone[#gone + 1] = all[j]
      elseif b then
        one.total = one.total + tonumber(all[j + 1])
        left = math.min(left, b)
      end
    end
    one.oldest = left
    if count then
      for j = 1, #gone, 1000 do redis.call('HDEL', key, unpack(gone, j, math.min(j + 999, #gone))) end
      redis.call('HSET', key, 't', int(one.total), 'o', int(left))
    end
  end
  local need = one.cost + (seen[key] or 0)
  seen[key] = need
  one.over, one.free = 0, 0
  if one.max > 0 and one.cost > 0 and one.total + need > one.max then
    fits, one.over, one.free = false, 1, -1
    if need <= one.max then
      local all, b, left = redis.call('HGETALL', key), {}, one.total
      for j = 1, #all, 2 do
        local n = tonumber(all[j])
        if n and n > one.n - one.buckets then b[#b + 1] = {n, tonumber(all[j + 1])} end
      end
      table.sort(b, function(x, y) return x[1] < y[1] end)
      for j = 1, #b do
        left = left - b[j][2]
        if left <= one.max - need then
          one.free = (b[j][1] + one.buckets) * one.width - now
          break
        end
      end
    end
  end
  w[i] = one
end
local out = {now, fits and 1 or 0}
for i, one in ipairs(w) do
  local used = one.total
  if fits and count and one.cost > 0 then
    local cost = math.min(one.cost, 9007199254740992 - one.total)
    redis.call('HINCRBY', KEYS[i], int(one.n), int(cost))
    used = redis.call('HINCRBY', KEYS[i], 't', int(cost))
    redis.call('HSET', KEYS[i], 'o', int(math.min(one.oldest, one.n)))
    redis.call('PEXPIRE', KEYS[i], int(math.ceil(one.buckets * one.width / 1000) + 1000))
  end
  out[#out + 1] = used
  out[#out + 1] = one.over
  out[#out + 1] = one.free
  out[#out + 1] = one.n
end
return out
`

// refundLua takes back: for each key the bucket and the cost. What has left
// the window has nothing to give back.
const refundLua = aliensLua + `
for i, key in ipairs(KEYS) do
  local bucket, cost = ARGV[i * 2 - 1], tonumber(ARGV[i * 2])
  local have = tonumber(own(key, 'HGET', key, bucket) or 0)
  cost = string.format('%.0f', math.min(cost, have))
  if cost ~= '0' then
    if redis.call('HINCRBY', key, bucket, '-' .. cost) == 0 then redis.call('HDEL', key, bucket) end
    redis.call('HINCRBY', key, 't', '-' .. cost)
  end
end
return 1
`

const historyLua = aliensLua + `
local t = redis.call('TIME')
return {t[1] * 1000000 + t[2], own(KEYS[1], 'HGETALL', KEYS[1])}
`

// keepLua changes a value that is never evicted, and says so in the stream of
// events, as one act. The events are numbered without a gap, so who reads them
// knows when he has missed one; the epoch changes when the numbers begin anew.
// KEYS: value, index, version, events, epoch. ARGV: deadline, put or delete,
// key, value, milliseconds (0 is for ever), most values, an epoch to begin,
// most events.
const keepLua = lateLua + `
local ms = math.floor(now / 1000)
own(KEYS[2], 'ZREMRANGEBYSCORE', KEYS[2], '(0', int(ms))
own(KEYS[3], 'GET', KEYS[3])
own(KEYS[4], 'XLEN', KEYS[4])
own(KEYS[5], 'GET', KEYS[5])
local ttl = tonumber(ARGV[5])
if ARGV[2] == 'put' then
  if not redis.call('ZSCORE', KEYS[2], ARGV[3]) and redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[6]) then return {now, -2} end
  if ttl > 0 then
    redis.call('SET', KEYS[1], ARGV[4], 'PX', int(ttl))
    redis.call('ZADD', KEYS[2], int(ms + ttl), ARGV[3])
  else
    redis.call('SET', KEYS[1], ARGV[4])
    redis.call('ZADD', KEYS[2], 0, ARGV[3])
  end
else
  redis.call('ZREM', KEYS[2], ARGV[3])
  if redis.call('DEL', KEYS[1]) == 0 then return {now, 0} end
end
if redis.call('EXISTS', KEYS[3], KEYS[5]) < 2 then
  redis.call('DEL', KEYS[4], KEYS[3])
  redis.call('SET', KEYS[5], ARGV[7])
end
local v = redis.call('INCR', KEYS[3])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[8], int(v) .. '-1', 'op', ARGV[2], 'key', ARGV[3], 'value', ARGV[4], 'ttl', ARGV[5])
return {now, v}
`
