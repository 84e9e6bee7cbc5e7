/* What the host calls: images as the network takes them, floats or numbers q, channels x height x width. */
#include <string.h>

#include "model.h"

@FACTS@

#define PIXELS (MODEL_INPUT_HEIGHT * MODEL_INPUT_WIDTH)

void model_numbers(const uint8_t *images, int16_t *outputs, int count);
void model_floats(const float *images, float *outputs, int count);

/* What the network takes and gives, as JSON. */
extern const char model_ports[];
const char model_ports[] = HOST_PORTS;

/* Of each output: its numbers, and what they stand for. */
static const int sizes[] = {HOST_SIZES};
static const double scales[] = {HOST_SCALES}, zeros[] = {HOST_ZEROS};

/* Channels that follow one another become channels side by side. */
static void interleave(const uint8_t *planes, int pixels, int stride, uint8_t *to)
{
    int at, channel;

    for (at = 0; at < pixels; at++)
        for (channel = 0; channel < MODEL_INPUT_CHANNELS; channel++)
            *to++ = planes[channel * stride + at];
}

/* q = clamp(floor(number / scale + zero + 1/2)). */
static void quantize(const float *image)
{
    uint8_t *to = model_input();
    int row, channel, x;

    for (row = 0; row < MODEL_INPUT_HEIGHT; row++, to += MODEL_INPUT_WIDTH * MODEL_INPUT_CHANNELS) {
        uint8_t planes[MODEL_INPUT_CHANNELS][MODEL_INPUT_WIDTH];

        for (channel = 0; channel < MODEL_INPUT_CHANNELS; channel++)
            for (x = 0; x < MODEL_INPUT_WIDTH; x++) {
                double number = image[channel * PIXELS + row * MODEL_INPUT_WIDTH + x] / HOST_INPUT_SCALE + (MODEL_INPUT_ZERO + 0.5);

                number = number > 0 ? number : 0;
                planes[channel][x] = (uint8_t)(int)(number < 255 ? number : 255);
            }
        interleave(planes[0], MODEL_INPUT_WIDTH, MODEL_INPUT_WIDTH, to);
    }
}

void model_numbers(const uint8_t *images, int16_t *outputs, int count)
{
    int at;

    for (; count > 0; count--, images += MODEL_INPUT_BYTES) {
        interleave(images, PIXELS, PIXELS, model_input());
        model_run();
        for (at = 0; at < MODEL_OUTPUTS; at++)
            *outputs++ = (int16_t)model_output(at);
    }
}

void model_floats(const float *images, float *outputs, int count)
{
    int at;

    for (; count > 0; count--, images += MODEL_INPUT_BYTES) {
        int first = 0, which = 0;

        quantize(images);
        model_run();
        for (; first < MODEL_OUTPUTS; first += sizes[which++])
            for (at = 0; at < sizes[which]; at++)
                *outputs++ = (float)((model_output(first + at) - zeros[which]) * scales[which]);
    }
}
