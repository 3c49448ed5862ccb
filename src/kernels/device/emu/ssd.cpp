#include "../compat/host.h"
#include "../shared/ssd.entry.h"
EMU_UNIT(ssd)
