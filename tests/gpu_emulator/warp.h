// Where the lanes of a warp give and take.
#pragma once

namespace emulator {

Exchange *exchange(unsigned mask, int operation, const void *given, int size) {
    Fiber *me = current;
    if (!(mask >> me->lane & 1))
        fail("warp function: the calling lane is not in the mask");
    memcpy(me->given, given, size);
    me->mask = mask;
    me->operation = operation;
    me->state = IN_WARP;
    Warp &warp = warps[me->warp];
    bool complete = true;
    for (unsigned l = 0; l < 32; l++) {
        if (!(mask >> l & 1)) continue;
        if (l >= warp.lanes.size()) fail("warp function: the mask names missing lanes");
        const Fiber *lane = warp.lanes[l];
        if (lane->state == DONE) fail("warp function: the mask names an ended lane");
        if (lane->state != IN_WARP)
            complete = false;
        else if ((lane->mask >> me->lane & 1) &&
                 (lane->mask != mask || lane->operation != operation))
            fail("warp function: lanes disagree on mask or operation");
    }
    if (!complete) {
        leave();
        return me->taken;
    }
    Exchange *all = nullptr;
    for (auto &e : warp.exchanges)
        if (!e.readers) all = &e;
    if (!all) {
        warp.exchanges.emplace_back();
        all = &warp.exchanges.back();
    }
    for (unsigned l = 0; l < 32; l++) {
        if (!(mask >> l & 1)) continue;
        Fiber *lane = warp.lanes[l];
        memcpy(all->data[l], lane->given, size);
        lane->taken = all;
        lane->state = RUNNING;
        all->readers++;
    }
    if (operation == SYNC) warp.n_syncs++;
    return all;
}

} // namespace emulator
