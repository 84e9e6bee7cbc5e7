/* Classifies images: reads MODEL_INPUT_BYTES pixels an image, height x width x channels, from the standard input, prints the
 * class and all outputs.  An example of how a program uses the network: generated once by sepnet, then yours. */
#include <stdio.h>

#include "model.h"
#include "model_pixels.h"

int main(void)
{
    uint8_t *input = model_input();

    while (fread(input, 1, MODEL_INPUT_BYTES, stdin) == MODEL_INPUT_BYTES) {
        int best = 0, at;

        for (at = 0; at < MODEL_INPUT_BYTES; at++)
            input[at] = MODEL_Q(at % MODEL_INPUT_CHANNELS, input[at]);
        model_run();
        for (at = 1; at < MODEL_OUTPUTS; at++)
            if (model_output(at) > model_output(best))
                best = at;
        printf("%d:", best);
        for (at = 0; at < MODEL_OUTPUTS; at++)
            printf(" %d", model_output(at));
        printf("\n");
    }
    return 0;
}
