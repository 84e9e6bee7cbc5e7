/* Reads MODEL_INPUT_BYTES pixels an example, height x width x channels, from the standard input, prints all outputs, a line
 * each.  An example of how a program uses the network: generated once by sepnet, then yours. */
#include <stdio.h>

#include "model.h"
#include "model_pixels.h"

static const int sizes[MODEL_OUTPUT_COUNT] = {
@SIZES@
};

int main(void)
{
    uint8_t *input = model_input();

    while (fread(input, 1, MODEL_INPUT_BYTES, stdin) == MODEL_INPUT_BYTES) {
        int output, first = 0, at;

        for (at = 0; at < MODEL_INPUT_BYTES; at++)
            input[at] = MODEL_Q(at % MODEL_INPUT_CHANNELS, input[at]);
        model_run();
        for (output = 0; output < MODEL_OUTPUT_COUNT; first += sizes[output++]) {
            printf("%d:", output);
            for (at = 0; at < sizes[output]; at++)
                printf(" %d", model_output(first + at));
            printf("\n");
        }
    }
    return 0;
}
