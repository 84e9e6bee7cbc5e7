static int number_at(const struct map *map, const uint8_t *in, int at)
{
    return map->bytes == 1 ? in[at] : (int16_t)(in[2 * at] | in[2 * at + 1] << 8);
}

/* exp of how far a number is below the largest, in 32767ths, of tables for the low and the high byte. */
static uint32_t power_of(const int16_t *low, const int16_t *high, int distance)
{
    return (uint32_t)(low[distance & 255] * high[distance >> 8] + (1 << 14)) >> 15;
}

/* The largest number of a pixel, and the sum of the powers of all. */
static int largest_of(const struct map *map, const uint8_t *in, const int16_t *low, const int16_t *high, uint32_t *total)
{
    int largest = number_at(map, in, 0), channel;

    for (channel = 1; channel < map->channels; channel++)
        if (number_at(map, in, channel) > largest)
            largest = number_at(map, in, channel);
    *total = 0;
    for (channel = 0; channel < map->channels; channel++)
        *total += power_of(low, high, largest - number_at(map, in, channel));
    return largest;
}
