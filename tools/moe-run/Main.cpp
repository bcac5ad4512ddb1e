// moe-run: the runner of moe-opt's executables for models in files.
#include "runtime/Runner/Program.h"
#include "tools/moe-run/Compile.h"

int main(int argc, char **argv) {
  return moe::rt::runMain(argc, argv, nullptr, moe::rt::compileOrLoad,
                          moe::rt::emulatorPath);
}
