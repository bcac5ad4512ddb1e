/* Stands in for a model where the launcher is linked to see which symbols it
 * needs from the C library. */
#include "runtime/IRInterface.h"

static const char *weights;
static void run(const moert_tensor *inputs, moert_tensor *outputs) {
  (void)inputs;
  (void)outputs;
}
const char moert_weights_begin[1], moert_weights_end[1];
extern const moert_device_runtime moert_device_runtime_cuda;
static const moert_device_code device = {
    "", "", 0, 0, 0, 0, 0, 0, 0, &moert_device_runtime_cuda};
const moert_model moert_model_descriptor = {
    MOERT_MAGIC, MOERT_ABI_MAJOR, MOERT_ABI_MINOR, "", "", "", 0, 0, 0, 0, 0,
    &weights, run, &device};
