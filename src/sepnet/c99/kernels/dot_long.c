/* 65536 products of a number of 8 bits and a weight add up to less than 2^31, whatever they are; such sums are added in 64 bits. */
static int64_t dot_long(const uint8_t *numbers, const int8_t *weights, int count)
{
    int64_t sum = 0;

    for (; count > 65536; numbers += 65536, weights += 65536, count -= 65536)
        sum += dot(numbers, weights, 65536);
    return sum + dot(numbers, weights, count);
}
