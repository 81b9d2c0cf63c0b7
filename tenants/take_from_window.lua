-- Takes up to `want` of what is left in a fixed window; a negative `want` puts something back.
-- KEYS[1] the window's counter; ARGV: limit, want, time to live in ms. Returns {granted, left} as text.
local limit, want = tonumber(ARGV[1]), tonumber(ARGV[2])
local used = tonumber(redis.call('GET', KEYS[1])) or 0
local granted = math.min(want, math.max(0, limit - used))
used = math.max(0, used + granted)
redis.call('SET', KEYS[1], string.format('%.6f', used), 'PX', ARGV[3])
return {string.format('%.6f', granted), string.format('%.6f', math.max(0, limit - used))}
