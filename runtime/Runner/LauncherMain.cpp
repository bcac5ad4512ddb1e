// Entry of executables made by moe-opt: the model is linked in.
#include "runtime/Runner/Program.h"

int main(int argc, char **argv) {
  return moe::rt::runMain(argc, argv, moe_model_api(MOE_API_MAJOR), nullptr);
}
