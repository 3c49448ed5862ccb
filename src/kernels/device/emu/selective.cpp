#include "../compat/host.h"
#include "../shared/selective.entry.h"
EMU_UNIT(selective)
