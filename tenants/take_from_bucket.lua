-- Takes up to `want` tokens from a shared token bucket; a negative `want` puts tokens back. What is `owed` is granted
-- even where it is not there: the bucket goes below zero and every process waits alike until it is paid.
-- KEYS[1] the bucket; ARGV: capacity, refill per second (> 0), want, owed (<= want). Returns {granted, left} as text.
-- The server's clock is the only one, so that processes on nodes with different clocks share one bucket.
local capacity, refill_per_s = tonumber(ARGV[1]), tonumber(ARGV[2])
local want, owed = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now_s = tonumber(time[1]) + tonumber(time[2]) / 1000000
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'refilled_at')
local elapsed_s = math.max(0, now_s - (tonumber(bucket[2]) or now_s))
local tokens = math.min(capacity, (tonumber(bucket[1]) or capacity) + elapsed_s * refill_per_s)
local granted = math.min(want, math.max(tokens, owed))
tokens = math.min(capacity, tokens - granted)
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'refilled_at', string.format('%.6f', now_s))
-- Once it would be full again a bucket need not be remembered.
redis.call('PEXPIRE', KEYS[1], math.ceil(1000 * (capacity - math.min(0, tokens)) / refill_per_s) + 60000)
return {string.format('%.6f', granted), string.format('%.6f', tokens)}
